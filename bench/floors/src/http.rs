//! Hyper, for stores that speak HTTP.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use url::Url;

use crate::{Bare, FIELDS, RECORDS, field, key, value};

/// Where the records are, in either store.
const PLACE: &str = "storelab_floor";

/// One connection to a server.
pub(crate) struct Hyper<'a> {
    url: &'a Url,
    is_influxdb: bool,
}

impl<'a> Hyper<'a> {
    pub(crate) fn of(engine: &str, url: &'a Url) -> Self {
        Self { url, is_influxdb: engine == "influxdb" }
    }

    fn organisation(&self) -> &str {
        self.url.path().trim_start_matches('/')
    }

    async fn connection(&self) -> Result<SendRequest<Full<Bytes>>> {
        let host = self.url.host_str().unwrap_or("127.0.0.1");
        let stream = TcpStream::connect((host, self.url.port().context("a port")?)).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::task::spawn_local(connection);
        Ok(sender)
    }

    async fn ask(
        &self,
        sender: &mut SendRequest<Full<Bytes>>,
        method: Method,
        path: &str,
        kind: &str,
        body: String,
    ) -> Result<Bytes> {
        let mut request =
            Request::builder().method(method).uri(path).header(HOST, "127.0.0.1").header(CONTENT_TYPE, kind);
        if let Some(token) = self.url.password() {
            request = request.header(AUTHORIZATION, format!("Token {token}"));
        }
        sender.ready().await?;
        let answer = sender.send_request(request.body(Full::from(body))?).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        if !status.is_success() {
            bail!("{path}: {status} {}", String::from_utf8_lossy(&body));
        }
        Ok(body)
    }

    async fn fill_influxdb(&self) -> Result<()> {
        let mut sender = self.connection().await?;
        let path = format!("/api/v2/orgs?org={}", self.organisation());
        let found = self.ask(&mut sender, Method::GET, &path, "application/json", String::new()).await?;
        let found: serde_json::Value = serde_json::from_slice(&found)?;
        let bucket = serde_json::json!({ "orgID": found["orgs"][0]["id"], "name": PLACE, "retentionRules": [] });
        self.ask(&mut sender, Method::POST, "/api/v2/buckets", "application/json", bucket.to_string()).await?;
        let fields: Vec<_> = (0..FIELDS).map(|number| format!("{}=\"{}\"", field(number), value())).collect();
        let line = |number| format!("records,key={} {} 0\n", key(number), fields.join(","));
        let lines: String = (0..RECORDS).map(line).collect();
        let path = format!("/api/v2/write?org={}&bucket={PLACE}", self.organisation());
        self.ask(&mut sender, Method::POST, &path, "text/plain", lines).await?;
        Ok(())
    }

    async fn fill_elasticsearch(&self) -> Result<()> {
        let mut sender = self.connection().await?;
        let fields: Vec<_> = (0..FIELDS).map(|number| format!("\"{}\":\"{}\"", field(number), value())).collect();
        let lines_of = |number| format!("{{\"index\":{{\"_id\":\"{}\"}}}}\n{{{}}}\n", key(number), fields.join(","));
        let lines: String = (0..RECORDS).map(lines_of).collect();
        let path = format!("/{PLACE}/_bulk?refresh=true");
        self.ask(&mut sender, Method::POST, &path, "application/x-ndjson", lines).await?;
        Ok(())
    }
}

/// The fields of a record and their values in a reply of comma-separated values: what a client library of `InfluxDB` would
/// give, and HTTP's does not. Our values have neither commas nor quotes.
fn fields_of(reply: &[u8]) -> Result<HashMap<&str, &str>> {
    let mut lines = std::str::from_utf8(reply)?.lines();
    let names: Vec<_> = lines.next().context("a line of names")?.split(',').collect();
    let place = |wanted| names.iter().position(|name| *name == wanted);
    let (Some(field), Some(value)) = (place("_field"), place("_value")) else { bail!("no fields in the reply") };
    let mut fields = HashMap::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let cells: Vec<_> = line.split(',').collect();
        if let (Some(name), Some(value)) = (cells.get(field), cells.get(value)) {
            fields.insert(*name, *value);
        }
    }
    // Each field is a table of its own, with its own line of names.
    fields.remove("_field");
    Ok(fields)
}

impl Bare for Hyper<'_> {
    async fn fill(&self) -> Result<()> {
        if self.is_influxdb { self.fill_influxdb().await } else { self.fill_elasticsearch().await }
    }

    async fn read(&self, reads: usize) -> Result<()> {
        let mut sender = self.connection().await?;
        let query = format!("/api/v2/query?org={}", self.organisation());
        for number in 0..reads {
            let key = key(number % RECORDS);
            let body = if self.is_influxdb {
                let flux = format!(
                    "from(bucket:\"{PLACE}\") |> range(start:0,stop:1) |> filter(fn:(r)=>r._measurement==\"records\" and \
                     r.key==\"{key}\")"
                );
                let reply = self.ask(&mut sender, Method::POST, &query, "application/vnd.flux", flux).await?;
                (fields_of(&reply)?.len() == FIELDS).then_some(()).context("no such record")?;
                reply
            } else {
                let path = format!("/{PLACE}/_source/{key}");
                self.ask(&mut sender, Method::GET, &path, "application/json", String::new()).await?
            };
            (body.len() > FIELDS * crate::FIELD_BYTES).then_some(()).context("no such record")?;
        }
        Ok(())
    }
}
