//! A file read back column by column; several merged into one.

use std::collections::HashMap;

use bytes::Bytes;
use parquet::basic::Type as Physical;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{DataType, FixedLenByteArray};
use parquet::errors::Result;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::ColumnDescriptor;
use tidegate_warehouse::evolve::Type;

use super::{ColumnChunk, GROUP_BYTES_MAX, GROUP_ROWS_MAX, JSON_KEY, ParquetWriter, WrittenFile, wrong};
use crate::encode::{ColumnTexts, Values};
use crate::manifest::ColumnEntry;

fn metadata_of<T: serde::de::DeserializeOwned + Default>(metadata: &ParquetMetaData, key: &str) -> T {
    let entries = metadata.file_metadata().key_value_metadata();
    let value = entries.and_then(|entries| entries.iter().find(|entry| entry.key == key)?.value.as_deref());
    value.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// The columns that a file with this footer has.
#[must_use]
pub fn columns(metadata: &ParquetMetaData) -> Vec<ColumnEntry> {
    let json: Vec<String> = metadata_of(metadata, JSON_KEY);
    let kind = |column: &ColumnDescriptor| match column.physical_type() {
        Physical::BOOLEAN => Type::Boolean,
        Physical::INT64 if column.logical_type_ref().is_some() => Type::Timestamp,
        Physical::INT64 => Type::Integer,
        Physical::FIXED_LEN_BYTE_ARRAY => Type::Decimal,
        _ if json.iter().any(|name| name == column.name()) => Type::Json,
        _ => Type::Text,
    };
    let described = metadata.file_metadata().schema_descr().columns();
    described.iter().map(|column| ColumnEntry { name: column.name().to_owned(), kind: kind(column) }).collect()
}

/// A file being read.
pub(super) struct Input {
    pub(super) reader: SerializedFileReader<Bytes>,
    columns: Vec<ColumnEntry>,
    pub(super) places: HashMap<String, usize>,
}

impl Input {
    pub(super) fn open(bytes: Bytes) -> Result<Self> {
        let reader = SerializedFileReader::new(bytes)?;
        let columns = columns(reader.metadata());
        let places = columns.iter().enumerate().map(|(at, column)| (column.name.clone(), at)).collect();
        Ok(Self { columns, places, reader })
    }

    /// One column of one row group.
    pub(super) fn chunk(&mut self, group: usize, at: usize) -> Result<ColumnChunk> {
        let reader = self.reader.get_row_group(group)?;
        let rows = usize::try_from(reader.metadata().num_rows()).map_err(|_| wrong("a row group has no rows"))?;
        let column = &self.columns[at];
        let mut levels = Vec::new();
        let values = match (reader.get_column_reader(at)?, column.kind) {
            (ColumnReader::BoolColumnReader(reader), _) => Values::Boolean(all(reader, rows, &mut levels)?),
            (ColumnReader::Int64ColumnReader(reader), Type::Timestamp) => {
                Values::Timestamp(all(reader, rows, &mut levels)?)
            }
            (ColumnReader::Int64ColumnReader(reader), _) => Values::Integer(all(reader, rows, &mut levels)?),
            (ColumnReader::FixedLenByteArrayColumnReader(reader), _) => {
                let values = all(reader, rows, &mut levels)?;
                let read = |value: &FixedLenByteArray| value.data().try_into().map(i128::from_be_bytes);
                let values = values.iter().map(read).collect::<std::result::Result<Vec<_>, _>>();
                Values::Decimal(values.map_err(|_| wrong("a decimal is not of 16 bytes"))?)
            }
            (ColumnReader::ByteArrayColumnReader(reader), kind) => {
                let mut texts = ColumnTexts::default();
                all(reader, rows, &mut levels)?.iter().for_each(|text| texts.push(text.data()));
                if kind == Type::Json { Values::Json(texts) } else { Values::Text(texts) }
            }
            _ => return Err(wrong("a column is of a type that this program does not write")),
        };
        Ok(ColumnChunk { levels, values })
    }
}

fn all<T: DataType>(mut reader: ColumnReaderImpl<T>, rows: usize, levels: &mut Vec<i16>) -> Result<Vec<T::T>>
where
    T::T: Clone,
{
    let mut values = Vec::new();
    let mut read = 0;
    while read < rows {
        let (records, ..) = reader.read_records(rows - read, Some(levels), None, &mut values)?;
        if records == 0 {
            return Err(wrong("a column ends too soon"));
        }
        read += records;
    }
    // A required column has no levels.
    if levels.is_empty() {
        levels.resize(rows, 1);
    }
    Ok(values)
}

/// One file with the rows of all `inputs` in order. Columns come out as `types` has them; those that no input has are
/// left out. In memory are the inputs, the output and one column of one row group.
///
/// # Errors
/// An input is no file of a lake, or has a column that cannot become what it shall be.
pub fn merged(inputs: Vec<Bytes>, types: &[ColumnEntry]) -> Result<WrittenFile> {
    let mut inputs = inputs.into_iter().map(Input::open).collect::<Result<Vec<_>>>()?;
    let columns: Vec<ColumnEntry> = types
        .iter()
        .filter(|column| inputs.iter().any(|input| input.places.contains_key(&column.name)))
        .cloned()
        .collect();
    let mut writer = ParquetWriter::new(&columns)?;
    for group in groups(&inputs) {
        let rows: usize = group.iter().map(|(.., rows)| rows).sum();
        writer.group(rows, |at| {
            let column = &columns[at];
            let mut whole = ColumnChunk::new(column.kind);
            let mut start = 0;
            for (input, group, rows) in &group {
                let input = &mut inputs[*input];
                if let Some(place) = input.places.get(&column.name).copied() {
                    let ColumnChunk { levels, values } = input.chunk(*group, place)?;
                    let values = values.widen(column.kind).map_err(|_| wrong("a column cannot be widened so"))?;
                    whole.append(start, ColumnChunk { levels, values })?;
                }
                start += rows;
            }
            Ok(Some(whole))
        })?;
    }
    writer.finish()
}

/// Which row groups of the inputs become one: the input, the row group, its rows.
fn groups(inputs: &[Input]) -> Vec<Vec<(usize, usize, usize)>> {
    let mut groups: Vec<Vec<_>> = Vec::new();
    let (mut rows, mut bytes) = (usize::MAX, i64::MAX);
    for (at, input) in inputs.iter().enumerate() {
        for (number, group) in input.reader.metadata().row_groups().iter().enumerate() {
            let (more, size) = (usize::try_from(group.num_rows()).unwrap_or(0), group.total_byte_size());
            if rows.saturating_add(more) > GROUP_ROWS_MAX || bytes.saturating_add(size) > GROUP_BYTES_MAX {
                groups.push(Vec::new());
                (rows, bytes) = (0, 0);
            }
            (rows, bytes) = (rows + more, bytes + size);
            if let Some(last) = groups.last_mut() {
                last.push((at, number, more));
            }
        }
    }
    groups
}
