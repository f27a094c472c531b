use parquet::file::reader::{FileReader as _, SerializedFileReader};
use tidegate_warehouse::evolve::Scalar;

use super::read::Input;
use super::*;

fn column(name: &str, kind: Type) -> ColumnEntry {
    ColumnEntry { name: name.to_owned(), kind }
}

fn chunk(kind: Type, cells: &[Option<Scalar<'_>>]) -> Option<ColumnChunk> {
    let mut chunk = ColumnChunk::new(kind);
    for cell in cells {
        chunk.levels.push(i16::from(cell.is_some()));
        cell.iter().for_each(|scalar| chunk.values.push(scalar).unwrap());
    }
    Some(chunk)
}

fn texts(file: &WrittenFile, name: &str) -> Vec<Option<String>> {
    let mut input = Input::open(file.bytes.clone()).unwrap();
    let place = input.places[name];
    let mut cells = Vec::new();
    for group in 0..input.reader.num_row_groups() {
        let ColumnChunk { levels, values } = input.chunk(group, place).unwrap();
        let Values::Text(texts) = values.widen(Type::Text).unwrap() else { unreachable!() };
        let mut texts = texts.iter().map(|text| String::from_utf8(text.to_vec()).unwrap());
        cells.extend(levels.iter().map(|level| (*level == 1).then(|| texts.next().unwrap())));
    }
    cells
}

#[test]
fn files_that_differ_are_merged_and_widened_with_every_text_as_it_came() {
    let (short, long) = ("2024-05-06T07:08:09.120Z", "2024-05-06T07:08:09.120001Z");
    let id = |ids: &'static [&str]| chunk(Type::Text, &ids.iter().map(|id| Some(Scalar::Text(id))).collect::<Vec<_>>());
    let at = |texts: &[Option<&'static str>]| {
        chunk(Type::Timestamp, &texts.iter().map(|text| text.map(Scalar::Timestamp)).collect::<Vec<_>>())
    };
    let first = [column("id", Type::Text), column("timestamp", Type::Timestamp), column("n", Type::Integer)];
    let numbers = chunk(Type::Integer, &[None, Some(Scalar::Integer(7))]);
    let first = written(&first, 3, vec![id(&["a", "b", "c"]), at(&[Some(long), None, Some(short)]), numbers]).unwrap();
    let second = [column("id", Type::Text), column("timestamp", Type::Timestamp), column("placed", Type::Timestamp)];
    let second = written(&second, 2, vec![id(&["d", "e"]), at(&[Some(short), Some(long)]), at(&[None, Some(short)])]);
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
    let odd = |n: usize| n.is_multiple_of(3).then(|| Scalar::Integer(i64::try_from(n).unwrap()));
    let numbers = chunk(Type::Integer, &(0..rows).map(odd).collect::<Vec<_>>());
    let columns = [column("id", Type::Text), column("n", Type::Integer)];
    let file = written(&columns, rows, vec![id, numbers]).unwrap();
    for file in [&file, &merged(vec![file.bytes.clone()], &columns).unwrap()] {
        let ids = texts(file, "id");
        assert_eq!((ids.len(), &ids[rows - 1]), (rows, &Some((rows - 1).to_string())));
        let expected: Vec<_> = (0..rows).map(|n| n.is_multiple_of(3).then(|| n.to_string())).collect();
        assert!(texts(file, "n") == expected);
        assert_eq!(SerializedFileReader::new(file.bytes.clone()).unwrap().num_row_groups(), 3);
    }
}
