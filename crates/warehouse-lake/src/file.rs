//! One Parquet file: written from columns of values, read back column by column, several merged into one.
//!
//! Every column is optional but `id`. JSON is plain text to all engines: its own logical type is an extension type to
//! some, on which their text functions fail; the file's metadata (`tidegate.json`) and the manifest say which columns
//! are JSON.

use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, FixedLenByteArray, FixedLenByteArrayType, Int64Type};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::{ColumnPath, Type as SchemaType};
use tidegate_warehouse::evolve::Type;

use super::encode::{ColumnTexts, PRECISION, SCALE, Values};
use super::manifest::ColumnEntry;

mod read;

pub use read::{columns, merged};

/// Rows of one row group; what a reader can skip at once.
const GROUP_ROWS_MAX: usize = 1 << 17;
/// Bytes before compression of the row groups that a merge makes one of.
const GROUP_BYTES_MAX: i64 = 128 << 20;
const JSON_KEY: &str = "tidegate.json";
const ID: &str = "id";

/// One column of some rows: 1 for each row with a value, 0 for null; rows at the end without a value may be left out.
#[derive(Debug, Clone)]
pub struct ColumnChunk {
    pub levels: Vec<i16>,
    pub values: Values,
}

impl ColumnChunk {
    #[must_use]
    pub fn new(kind: Type) -> Self {
        Self { levels: Vec::new(), values: Values::new(kind) }
    }

    /// Takes away the first `rows` rows.
    fn take(&mut self, rows: usize) -> Self {
        let levels = front(&mut self.levels, rows);
        let count = levels.iter().filter(|level| **level == 1).count();
        let values = match &mut self.values {
            Values::Boolean(values) => Values::Boolean(front(values, count)),
            Values::Integer(values) => Values::Integer(front(values, count)),
            Values::Decimal(values) => Values::Decimal(front(values, count)),
            Values::Timestamp(values) => Values::Timestamp(front(values, count)),
            Values::Json(texts) => Values::Json(front_texts(texts, count)),
            Values::Text(texts) => Values::Text(front_texts(texts, count)),
        };
        Self { levels, values }
    }

    /// Appends the rows of `other`, which is of the same type, behind row number `rows`.
    fn append(&mut self, rows: usize, other: Self) -> Result<()> {
        self.levels.resize(rows, 0);
        self.levels.extend(other.levels);
        match (&mut self.values, other.values) {
            (Values::Boolean(all), Values::Boolean(more)) => all.extend(more),
            (Values::Integer(all), Values::Integer(more)) => all.extend(more),
            (Values::Decimal(all), Values::Decimal(more)) => all.extend(more),
            (Values::Timestamp(all), Values::Timestamp(more)) => all.extend(more),
            (Values::Json(all), Values::Json(more)) | (Values::Text(all), Values::Text(more)) => {
                let start = all.bytes.len();
                all.bytes.extend(more.bytes);
                all.ends.extend(more.ends.into_iter().map(|end| start + end));
            }
            _ => return Err(wrong("a column has two types")),
        }
        Ok(())
    }
}

fn front<T>(all: &mut Vec<T>, count: usize) -> Vec<T> {
    let rest = all.split_off(count.min(all.len()));
    std::mem::replace(all, rest)
}

fn front_texts(all: &mut ColumnTexts, count: usize) -> ColumnTexts {
    let ends = front(&mut all.ends, count);
    let cut = ends.last().copied().unwrap_or(0);
    let rest = all.bytes.split_off(cut);
    all.ends.iter_mut().for_each(|end| *end -= cut);
    ColumnTexts { bytes: std::mem::replace(&mut all.bytes, rest), ends }
}

fn wrong(what: &str) -> ParquetError {
    ParquetError::General(what.to_owned())
}

fn field(column: &ColumnEntry) -> Result<SchemaType> {
    let (physical, logical) = match column.kind {
        Type::Boolean => (Physical::BOOLEAN, None),
        Type::Integer => (Physical::INT64, None),
        Type::Decimal => (Physical::FIXED_LEN_BYTE_ARRAY, Some(LogicalType::decimal(SCALE as i32, PRECISION as i32))),
        Type::Timestamp => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::MICROS))),
        Type::Json | Type::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
    };
    let repetition = if column.name == ID { Repetition::REQUIRED } else { Repetition::OPTIONAL };
    let builder = SchemaType::primitive_type_builder(&column.name, physical)
        .with_repetition(repetition)
        .with_logical_type(logical);
    if column.kind == Type::Decimal {
        return builder.with_length(16).with_precision(PRECISION as i32).with_scale(SCALE as i32).build();
    }
    builder.build()
}

/// A file being written into memory.
struct ParquetWriter<'c> {
    inner: SerializedFileWriter<Vec<u8>>,
    columns: &'c [ColumnEntry],
    rows: u64,
}

impl<'c> ParquetWriter<'c> {
    fn new(columns: &'c [ColumnEntry]) -> Result<Self> {
        let fields = columns.iter().map(|column| field(column).map(Arc::new)).collect::<Result<Vec<_>>>()?;
        let schema = SchemaType::group_type_builder("schema").with_fields(fields).build()?;
        let json: Vec<&str> =
            columns.iter().filter(|column| column.kind == Type::Json).map(|column| &*column.name).collect();
        let metadata = (!json.is_empty())
            .then(|| vec![KeyValue::new(JSON_KEY.to_owned(), serde_json::to_string(&json).unwrap_or_default())]);
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_created_by(concat!("tidegate ", env!("CARGO_PKG_VERSION")).to_owned())
            // Ids do not repeat.
            .set_column_dictionary_enabled(ColumnPath::from(ID), false)
            .set_max_row_group_row_count(None)
            .set_key_value_metadata(metadata)
            .build();
        let inner = SerializedFileWriter::new(Vec::new(), Arc::new(schema), Arc::new(properties))?;
        Ok(Self { inner, columns, rows: 0 })
    }

    /// Writes a row group of `rows` rows; `chunk` gives each column in turn.
    fn group(&mut self, rows: usize, mut chunk: impl FnMut(usize) -> Result<Option<ColumnChunk>>) -> Result<()> {
        let mut group = self.inner.next_row_group()?;
        for (at, column) in self.columns.iter().enumerate() {
            let mut chunk = chunk(at)?.unwrap_or_else(|| ColumnChunk::new(column.kind));
            chunk.levels.resize(rows, 0);
            let mut writer = group.next_column()?.ok_or_else(|| wrong("a column is missing"))?;
            let levels = (column.name != ID).then_some(&*chunk.levels);
            if levels.is_none() && chunk.levels.contains(&0) {
                return Err(wrong("a row has no id"));
            }
            write(&mut writer, levels, chunk.values)?;
            writer.close()?;
        }
        group.close()?;
        self.rows += rows as u64;
        Ok(())
    }

    fn finish(self) -> Result<WrittenFile> {
        Ok(WrittenFile { bytes: self.inner.into_inner()?.into(), rows: self.rows })
    }
}

/// A whole file.
#[derive(Debug)]
pub struct WrittenFile {
    pub bytes: Bytes,
    pub rows: u64,
}

/// A file of `rows` rows; a column without a chunk is null.
///
/// # Errors
/// The chunks do not go with the columns.
pub fn written(columns: &[ColumnEntry], rows: usize, mut chunks: Vec<Option<ColumnChunk>>) -> Result<WrittenFile> {
    let mut writer = ParquetWriter::new(columns)?;
    let mut left = rows;
    while left > GROUP_ROWS_MAX {
        writer.group(GROUP_ROWS_MAX, |at| Ok(chunks[at].as_mut().map(|chunk| chunk.take(GROUP_ROWS_MAX))))?;
        left -= GROUP_ROWS_MAX;
    }
    writer.group(left, |at| Ok(chunks[at].take()))?;
    writer.finish()
}

fn write(writer: &mut SerializedColumnWriter<'_>, levels: Option<&[i16]>, values: Values) -> Result<()> {
    match values {
        Values::Boolean(values) => writer.typed::<BoolType>().write_batch(&values, levels, None)?,
        Values::Integer(values) | Values::Timestamp(values) => {
            writer.typed::<Int64Type>().write_batch(&values, levels, None)?
        }
        Values::Decimal(values) => {
            let bytes: Bytes = values.iter().flat_map(|value| value.to_be_bytes()).collect::<Vec<_>>().into();
            let values: Vec<FixedLenByteArray> =
                (0..values.len()).map(|at| ByteArray::from(bytes.slice(at * 16..at * 16 + 16)).into()).collect();
            writer.typed::<FixedLenByteArrayType>().write_batch(&values, levels, None)?
        }
        Values::Json(texts) | Values::Text(texts) => {
            let bytes = Bytes::from(texts.bytes);
            let mut start = 0;
            let values: Vec<ByteArray> = texts
                .ends
                .into_iter()
                .map(|end| ByteArray::from(bytes.slice(std::mem::replace(&mut start, end)..end)))
                .collect();
            writer.typed::<ByteArrayType>().write_batch(&values, levels, None)?
        }
    };
    Ok(())
}

#[cfg(test)]
mod tests;
