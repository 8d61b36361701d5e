//! The record as it is published: `storelab.run/1`.

use super::{Format, Output, Source, refused};
use crate::Result;

pub(super) static FORMAT: Format = Format {
    name: "json",
    extension: "json",
    summary: "the record whole, as `storelab run --json` writes it; its shape is published as a JSON Schema",
    is_text: true,
    write,
};

fn write(source: &Source<'_>, out: Output<'_>) -> Result<()> {
    serde_json::to_writer_pretty(&mut *out, &source.record).map_err(refused)?;
    Ok(out.write_all(b"\n")?)
}
