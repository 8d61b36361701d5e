//! The least that reading rows of `SQLite` by their key can cost from Rust: one statement, one thread, nothing measured,
//! nothing verified.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use rusqlite::{Connection, OpenFlags};

/// What `storelab load … --workload ycsb:c` makes.
const KEYS: &str = "SELECT ycsb_key FROM storelab_ycsb_usertable";
const READ: &str = "SELECT field0 FROM storelab_ycsb_usertable WHERE ycsb_key = ?";

/// Reads between two looks at the clock, which then costs nothing.
const READS_PER_LOOK: u64 = 1_024;

/// Reads random rows of a file that Storelab loaded, as often as it can, and says how many.
#[expect(clippy::print_stdout, reason = "the number is what is wanted")]
pub(crate) fn run(file: &Path, seconds: u32) -> anyhow::Result<()> {
    // As Storelab opens it: without the library's lock, which one thread does not need.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    let keys: Vec<String> = connection.prepare(KEYS)?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    ensure!(!keys.is_empty(), "{} has no rows", file.display());
    let mut statement = connection.prepare_cached(READ)?;
    let (started, limit) = (Instant::now(), Duration::from_secs(u64::from(seconds)));
    let mut state: u64 = 1;
    let mut reads: u64 = 0;
    while started.elapsed() < limit {
        for _ in 0..READS_PER_LOOK {
            // Knuth's multiplier; the upper half of the state is random enough to choose a row.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let key = &keys[(state >> 32) as usize % keys.len()];
            let mut rows = statement.query([key])?;
            while let Some(row) = rows.next()? {
                black_box(row.get_ref(0)?.as_str()?);
            }
        }
        reads += READS_PER_LOOK;
    }
    println!("{reads} reads in {} s", started.elapsed().as_secs_f64());
    Ok(())
}
