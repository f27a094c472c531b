//! One Parquet file: written from columns of values, read back column by column, several merged into one.
//!
//! Every column is optional but `id`. JSON is plain text to all engines: its own logical type is an extension type to
//! some, on which their text functions fail; the file's metadata (`tidegate.json`) and the manifest say which columns
//! are JSON. A timestamp does not tell with how many fraction digits it was spelled; that is a rule of the column, and
//! what departs from the rule is in the metadata too (`tidegate.spelled`), so that a column that becomes text later has
//! exactly the texts that came.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DataType, FixedLenByteArray, FixedLenByteArrayType, Int64Type,
};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{KeyValue, ParquetMetaData};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::{ColumnDescriptor, ColumnPath, Type as SchemaType};

use super::encode::{PRECISION, SCALE, Texts, Values};
use super::manifest::ColumnEntry;
use crate::warehouse::evolve::Type;

/// Rows of one row group; what a reader can skip at once.
const GROUP_ROWS_MAX: usize = 1 << 17;
/// Bytes before compression of the row groups that a merge makes one of.
const GROUP_BYTES_MAX: i64 = 128 << 20;
const JSON_KEY: &str = "tidegate.json";
const SPELLED_KEY: &str = "tidegate.spelled";
const ID: &str = "id";

/// One column of some rows: 1 for each row with a value, 0 for null; rows at the end without a value may be left out.
#[derive(Debug, Clone)]
pub struct Chunk {
    pub levels: Vec<i16>,
    pub values: Values,
}

impl Chunk {
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
            Values::Timestamp(values, short) => Values::Timestamp(front(values, count), front(short, count)),
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
            (Values::Timestamp(all, all_short), Values::Timestamp(more, short)) => {
                all.extend(more);
                all_short.extend(short);
            }
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

fn front_texts(all: &mut Texts, count: usize) -> Texts {
    let ends = front(&mut all.ends, count);
    let cut = ends.last().copied().unwrap_or(0);
    let rest = all.bytes.split_off(cut);
    all.ends.iter_mut().for_each(|end| *end -= cut);
    Texts { bytes: std::mem::replace(&mut all.bytes, rest), ends }
}

fn wrong(what: &str) -> ParquetError {
    ParquetError::General(what.to_owned())
}

/// Whether instants of the column have three fraction digits unless the file says otherwise: those of properties do;
/// the house spells its own with six.
fn is_short(column: &str) -> bool {
    !matches!(column, "timestamp" | "received_at")
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
struct Writer<'c> {
    inner: SerializedFileWriter<Vec<u8>>,
    columns: &'c [ColumnEntry],
    /// By column, of each timestamp whether it is short; once one departs from the rule.
    spelled: HashMap<usize, Vec<bool>>,
    rows: u64,
}

impl<'c> Writer<'c> {
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
        Ok(Self { inner, columns, spelled: HashMap::new(), rows: 0 })
    }

    /// Writes a row group of `rows` rows; `chunk` gives each column in turn.
    fn group(&mut self, rows: usize, mut chunk: impl FnMut(usize) -> Result<Option<Chunk>>) -> Result<()> {
        let mut group = self.inner.next_row_group()?;
        for (at, column) in self.columns.iter().enumerate() {
            let mut chunk = chunk(at)?.unwrap_or_else(|| Chunk::new(column.kind));
            chunk.levels.resize(rows, 0);
            if let Values::Timestamp(_, short) = &chunk.values {
                let rule = is_short(&column.name);
                self.spelled.entry(at).or_default().extend(short.iter().map(|short| *short != rule));
            }
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

    fn finish(mut self) -> Result<Written> {
        let departing: serde_json::Map<_, _> = self
            .spelled
            .iter()
            .filter(|(_, odd)| odd.contains(&true))
            .map(|(at, odd)| (self.columns[*at].name.clone(), STANDARD.encode(packed(odd)).into()))
            .collect();
        if !departing.is_empty() {
            let value = serde_json::Value::Object(departing).to_string();
            self.inner.append_key_value_metadata(KeyValue::new(SPELLED_KEY.to_owned(), value));
        }
        let rows = self.rows;
        Ok(Written { bytes: self.inner.into_inner()?.into(), rows })
    }
}

/// A whole file.
#[derive(Debug)]
pub struct Written {
    pub bytes: Bytes,
    pub rows: u64,
}

/// A file of `rows` rows; a column without a chunk is null.
///
/// # Errors
/// The chunks do not go with the columns.
pub fn written(columns: &[ColumnEntry], rows: usize, mut chunks: Vec<Option<Chunk>>) -> Result<Written> {
    let mut writer = Writer::new(columns)?;
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
        Values::Integer(values) | Values::Timestamp(values, _) => {
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

fn packed(bits: &[bool]) -> Vec<u8> {
    bits.chunks(8).map(|eight| eight.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit))).collect()
}

fn is_set(packed: &[u8], at: usize) -> bool {
    packed.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1)
}

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
struct Input {
    reader: SerializedFileReader<Bytes>,
    columns: Vec<ColumnEntry>,
    places: HashMap<String, usize>,
    /// By name, of which timestamps the spelling departs from the rule.
    spelled: HashMap<String, Vec<u8>>,
    /// By column: timestamps read so far.
    read: HashMap<usize, usize>,
}

impl Input {
    fn open(bytes: Bytes) -> Result<Self> {
        let reader = SerializedFileReader::new(bytes)?;
        let columns = columns(reader.metadata());
        let places = columns.iter().enumerate().map(|(at, column)| (column.name.clone(), at)).collect();
        let spelled: HashMap<String, String> = metadata_of(reader.metadata(), SPELLED_KEY);
        let decode = |(name, text): (String, String)| Some((name, STANDARD.decode(text).ok()?));
        Ok(Self {
            columns,
            places,
            spelled: spelled.into_iter().filter_map(decode).collect(),
            read: HashMap::new(),
            reader,
        })
    }

    /// One column of one row group.
    fn chunk(&mut self, group: usize, at: usize) -> Result<Chunk> {
        let reader = self.reader.get_row_group(group)?;
        let rows = usize::try_from(reader.metadata().num_rows()).map_err(|_| wrong("a row group has no rows"))?;
        let column = &self.columns[at];
        let mut levels = Vec::new();
        let values = match (reader.get_column_reader(at)?, column.kind) {
            (ColumnReader::BoolColumnReader(reader), _) => Values::Boolean(all(reader, rows, &mut levels)?),
            (ColumnReader::Int64ColumnReader(reader), Type::Timestamp) => {
                let values = all(reader, rows, &mut levels)?;
                let start = self.read.entry(at).or_default();
                let (rule, spelled) = (is_short(&column.name), self.spelled.get(&column.name));
                let departs = |at| spelled.is_some_and(|packed| is_set(packed, at));
                let short = (*start..*start + values.len()).map(|at| rule != departs(at)).collect();
                *start += values.len();
                Values::Timestamp(values, short)
            }
            (ColumnReader::Int64ColumnReader(reader), _) => Values::Integer(all(reader, rows, &mut levels)?),
            (ColumnReader::FixedLenByteArrayColumnReader(reader), _) => {
                let values = all(reader, rows, &mut levels)?;
                let read = |value: &FixedLenByteArray| value.data().try_into().map(i128::from_be_bytes);
                let values = values.iter().map(read).collect::<std::result::Result<Vec<_>, _>>();
                Values::Decimal(values.map_err(|_| wrong("a decimal is not of 16 bytes"))?)
            }
            (ColumnReader::ByteArrayColumnReader(reader), kind) => {
                let mut texts = Texts::default();
                all(reader, rows, &mut levels)?.iter().for_each(|text| texts.push(text.data()));
                if kind == Type::Json { Values::Json(texts) } else { Values::Text(texts) }
            }
            _ => return Err(wrong("a column is of a type that this program does not write")),
        };
        Ok(Chunk { levels, values })
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
pub fn merged(inputs: Vec<Bytes>, types: &[ColumnEntry]) -> Result<Written> {
    let mut inputs = inputs.into_iter().map(Input::open).collect::<Result<Vec<_>>>()?;
    let columns: Vec<ColumnEntry> = types
        .iter()
        .filter(|column| inputs.iter().any(|input| input.places.contains_key(&column.name)))
        .cloned()
        .collect();
    let mut writer = Writer::new(&columns)?;
    for group in groups(&inputs) {
        let rows: usize = group.iter().map(|(.., rows)| rows).sum();
        writer.group(rows, |at| {
            let column = &columns[at];
            let mut whole = Chunk::new(column.kind);
            let mut start = 0;
            for (input, group, rows) in &group {
                let input = &mut inputs[*input];
                if let Some(place) = input.places.get(&column.name).copied() {
                    let Chunk { levels, values } = input.chunk(*group, place)?;
                    let values = values.widen(column.kind).map_err(|_| wrong("a column cannot be widened so"))?;
                    whole.append(start, Chunk { levels, values })?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::warehouse::evolve::Scalar;

    fn column(name: &str, kind: Type) -> ColumnEntry {
        ColumnEntry { name: name.to_owned(), kind }
    }

    fn chunk(kind: Type, cells: &[Option<Scalar<'_>>]) -> Option<Chunk> {
        let mut chunk = Chunk::new(kind);
        for cell in cells {
            chunk.levels.push(i16::from(cell.is_some()));
            cell.iter().for_each(|scalar| chunk.values.push(scalar).unwrap());
        }
        Some(chunk)
    }

    fn texts(file: &Written, name: &str) -> Vec<Option<String>> {
        let mut input = Input::open(file.bytes.clone()).unwrap();
        let place = input.places[name];
        let mut cells = Vec::new();
        for group in 0..input.reader.num_row_groups() {
            let Chunk { levels, values } = input.chunk(group, place).unwrap();
            let Values::Text(texts) = values.widen(Type::Text).unwrap() else { unreachable!() };
            let mut texts = texts.iter().map(|text| String::from_utf8(text.to_vec()).unwrap());
            cells.extend(levels.iter().map(|level| (*level == 1).then(|| texts.next().unwrap())));
        }
        cells
    }

    #[test]
    fn files_that_differ_are_merged_and_widened_with_every_text_as_it_came() {
        let (short, long) = ("2024-05-06T07:08:09.120Z", "2024-05-06T07:08:09.120000Z");
        let id =
            |ids: &'static [&str]| chunk(Type::Text, &ids.iter().map(|id| Some(Scalar::Text(id))).collect::<Vec<_>>());
        let at = |texts: &[Option<&'static str>]| {
            chunk(Type::Timestamp, &texts.iter().map(|text| text.map(Scalar::Timestamp)).collect::<Vec<_>>())
        };
        let first = [column("id", Type::Text), column("timestamp", Type::Timestamp), column("n", Type::Integer)];
        let numbers = chunk(Type::Integer, &[None, Some(Scalar::Integer(7))]);
        let first =
            written(&first, 3, vec![id(&["a", "b", "c"]), at(&[Some(long), None, Some(short)]), numbers]).unwrap();
        let second =
            [column("id", Type::Text), column("timestamp", Type::Timestamp), column("placed", Type::Timestamp)];
        let second =
            written(&second, 2, vec![id(&["d", "e"]), at(&[Some(short), Some(long)]), at(&[None, Some(short)])]);
        let inputs = vec![first.bytes, second.unwrap().bytes];
        let types = |kind| {
            [("id", Type::Text), ("timestamp", kind), ("n", Type::Decimal), ("placed", kind), ("none", Type::Text)]
                .map(|(name, kind)| column(name, kind))
        };
        let merge = merged(inputs.clone(), &types(Type::Timestamp)).unwrap();
        let again = merged(vec![merge.bytes.clone()], &types(Type::Text)).unwrap();
        for file in [&merge, &again, &merged(inputs, &types(Type::Text)).unwrap()] {
            assert_eq!(file.rows, 5);
            assert_eq!(
                texts(file, "timestamp"),
                [Some(long), None, Some(short), Some(short), Some(long)].map(|t| t.map(str::to_owned))
            );
            assert_eq!(texts(file, "n"), [None, Some("7".to_owned()), None, None, None]);
            assert_eq!(texts(file, "placed"), [None, None, None, None, Some(short.to_owned())]);
            assert_eq!(texts(file, "id").len(), 5);
        }
        let footer = SerializedFileReader::new(again.bytes).unwrap();
        assert_eq!(columns(footer.metadata()), types(Type::Text)[..4]);
    }

    #[test]
    fn more_rows_than_a_row_group_holds_make_several() {
        let rows = GROUP_ROWS_MAX * 2 + 5;
        let names: Vec<String> = (0..rows).map(|n| n.to_string()).collect();
        let id = chunk(Type::Text, &names.iter().map(|id| Some(Scalar::Text(id))).collect::<Vec<_>>());
        let odd = |n: usize| (n % 3 == 0).then(|| Scalar::Integer(i64::try_from(n).unwrap()));
        let numbers = chunk(Type::Integer, &(0..rows).map(odd).collect::<Vec<_>>());
        let columns = [column("id", Type::Text), column("n", Type::Integer)];
        let file = written(&columns, rows, vec![id, numbers]).unwrap();
        for file in [&file, &merged(vec![file.bytes.clone()], &columns).unwrap()] {
            let ids = texts(file, "id");
            assert_eq!((ids.len(), &ids[rows - 1]), (rows, &Some((rows - 1).to_string())));
            let expected: Vec<_> = (0..rows).map(|n| (n % 3 == 0).then(|| n.to_string())).collect();
            assert!(texts(file, "n") == expected);
            assert_eq!(SerializedFileReader::new(file.bytes.clone()).unwrap().num_row_groups(), 3);
        }
    }
}
