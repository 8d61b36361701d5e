//! The seconds of a run as an Apache Parquet file, for notebooks and warehouses.

use std::sync::Arc;

use ::parquet::basic::{LogicalType, Repetition, TimeUnit, Type as Physical};
use ::parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::KeyValue;
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use ::parquet::schema::types::{Type, TypePtr};

use super::seconds::{self, Column, Kind, Value};
use super::{Format, Output, Source, refused};
use crate::Result;

pub(super) static FORMAT: Format = Format {
    name: "parquet",
    extension: "parquet",
    summary: "the rows of `csv-seconds` as Apache Parquet, with types, for notebooks and warehouses",
    is_text: false,
    write,
};

/// Rows that are held until they are written: half a day of one operation, some ten megabytes.
const ROWS_PER_GROUP: usize = 65_536;

/// One column's values of the row group that is being gathered.
enum Buffer {
    Whole(Vec<i64>),
    Real { values: Vec<f64>, is_there: Vec<i16> },
    Text(Vec<ByteArray>),
    Flag(Vec<bool>),
}

fn write(source: &Source<'_>, out: Output<'_>) -> Result<()> {
    let gauges = source.gauge_names()?;
    let columns = seconds::columns(&gauges);
    let about = [("storelab.run", source.record.id.to_string()), ("storelab.name", source.record.name.clone())];
    let properties = WriterProperties::builder()
        .set_created_by(format!("storelab {}", source.record.provenance.storelab))
        .set_key_value_metadata(Some(about.map(|(key, value)| KeyValue::new(key.to_owned(), value)).into()))
        .build();
    let schema = schema(&columns).map_err(refused)?;
    let mut file = SerializedFileWriter::new(out, schema, Arc::new(properties)).map_err(refused)?;
    let mut buffers: Vec<Buffer> = columns.iter().map(|column| Buffer::new(column.kind)).collect();
    let mut rows = 0;
    seconds::each_row(source, &gauges, |row| {
        buffers.iter_mut().zip(row).for_each(|(buffer, value)| buffer.push(value));
        rows += 1;
        if rows == ROWS_PER_GROUP {
            rows = 0;
            write_group(&mut file, &mut buffers).map_err(refused)?;
        }
        Ok(())
    })?;
    if rows > 0 {
        write_group(&mut file, &mut buffers).map_err(refused)?;
    }
    file.close().map(drop).map_err(refused)
}

fn schema(columns: &[Column]) -> Result<TypePtr, ParquetError> {
    let fields = columns.iter().map(|Column { name, kind }| {
        let (physical, logical, repetition) = match kind {
            Kind::Whole => (Physical::INT64, None, Repetition::REQUIRED),
            Kind::Real => (Physical::DOUBLE, None, Repetition::OPTIONAL),
            Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String), Repetition::REQUIRED),
            Kind::Flag => (Physical::BOOLEAN, None, Repetition::REQUIRED),
            Kind::Time => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::MICROS)), Repetition::REQUIRED),
        };
        Type::primitive_type_builder(name, physical)
            .with_logical_type(logical)
            .with_repetition(repetition)
            .build()
            .map(Arc::new)
    });
    Type::group_type_builder("seconds").with_fields(fields.collect::<Result<_, _>>()?).build().map(Arc::new)
}

fn write_group(file: &mut SerializedFileWriter<Output<'_>>, buffers: &mut [Buffer]) -> Result<(), ParquetError> {
    let mut group = file.next_row_group()?;
    for buffer in buffers {
        buffer.write(&mut group)?;
    }
    group.close().map(drop)
}

impl Buffer {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Whole | Kind::Time => Self::Whole(Vec::new()),
            Kind::Real => Self::Real { values: Vec::new(), is_there: Vec::new() },
            Kind::Text => Self::Text(Vec::new()),
            Kind::Flag => Self::Flag(Vec::new()),
        }
    }

    fn push(&mut self, value: &Value<'_>) {
        match (self, value) {
            (Self::Whole(values), Value::Whole(value)) => values.push(value.cast_signed()),
            (Self::Whole(values), Value::Time(time)) => values.push(time.as_microsecond()),
            (Self::Real { values, is_there }, Value::Real(value)) => {
                values.extend(*value);
                is_there.push(i16::from(value.is_some()));
            }
            (Self::Text(values), Value::Text(text)) => values.push(ByteArray::from(*text)),
            (Self::Flag(values), Value::Flag(flag)) => values.push(*flag),
            _ => unreachable!("rows have the columns that the buffers were made for"),
        }
    }

    /// Writes the next column of a row group, and forgets what was written.
    fn write<W: std::io::Write + Send>(
        &mut self,
        group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<(), ParquetError> {
        let mut column = group.next_column()?.expect("the schema has a column for each buffer");
        match self {
            Self::Whole(values) => column.typed::<Int64Type>().write_batch(values, None, None)?,
            Self::Real { values, is_there } => {
                column.typed::<DoubleType>().write_batch(values, Some(is_there), None)?
            }
            Self::Text(values) => column.typed::<ByteArrayType>().write_batch(values, None, None)?,
            Self::Flag(values) => column.typed::<BoolType>().write_batch(values, None, None)?,
        };
        self.clear();
        column.close()
    }

    fn clear(&mut self) {
        match self {
            Self::Whole(values) => values.clear(),
            Self::Real { values, is_there } => {
                values.clear();
                is_there.clear();
            }
            Self::Text(values) => values.clear(),
            Self::Flag(values) => values.clear(),
        }
    }
}
