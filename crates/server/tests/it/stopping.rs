//! How it ends.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::{Answer, Lab};

#[test]
fn it_stops_although_clients_are_connected() {
    let lab = Lab::open();
    let address = lab.address();
    let mut idle = TcpStream::connect(address).expect("it listens");
    let mut served = TcpStream::connect(address).expect("it listens");
    served.write_all(&lab.get("/health/live").without("Connection").bytes()).expect("it is taken");
    served.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket");
    let mut first = [0; 1];
    served.read_exact(&mut first).expect("it is answered");
    lab.stop();
    let mut rest = Vec::new();
    served.read_to_end(&mut rest).expect("it is closed");
    let whole = [first.as_slice(), &rest].concat();
    assert_eq!(Answer::parse(&whole, "GET").map(|answer| answer.status), Some(200));
    assert_eq!(idle.read(&mut first).unwrap_or(0), 0);
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
}

#[test]
fn the_kill_switch_answers_where_there_is_nothing_to_stop() {
    let lab = Lab::open();
    let stopped = lab.ask("POST", "/api/v1/stop").send().expect(200).json();
    assert_eq!(stopped, serde_json::json!({"running": 0, "dequeued": []}));
}
