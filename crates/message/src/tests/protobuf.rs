use std::collections::BTreeMap;

use proptest::prelude::*;
use prost_reflect::prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, Value as FieldValue};
use tidegate_event::value::Value;

use super::LIMITS;
use crate::limits::MessageLimits;
use crate::protobuf::ProtobufSchema;

/// A message that another implementation (Google's for Python) wrote.
const ORDER_BYTES: &str = "088080808080808080800110ffffffffffffffffff01199a9999999999b93f25cdcccc3d2a0368c3a9320200ff380142030001074a020201520b0880e2cfaa06108094ef3a5a1608ffffffffffffffffff011080b6ca91feffffffff0162260a240a0161121f321d0a0911000000000000f03f0a0208000a0c2a0a0a080a016212031a01636a0072320a2c747970652e676f6f676c65617069732e636f6d2f676f6f676c652e70726f746f6275662e4475726174696f6e120208038001008a01050a01781005";

const ORDER: &str = r#"
syntax = "proto3";
package shop;
import "google/protobuf/any.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";

enum State { NEW = 0; PAID = 1; }
message Order {
  int64 order_id = 1;
  uint64 total = 2;
  double price = 3;
  float rate = 4;
  string note = 5;
  bytes raw = 6;
  State state = 7;
  repeated State states = 8;
  repeated sint64 ids = 9;
  google.protobuf.Timestamp at = 10;
  google.protobuf.Duration took = 11;
  google.protobuf.Struct extra = 12;
  google.protobuf.Int64Value maybe = 13;
  google.protobuf.Any what = 14;
  oneof payment { string card = 15; bool cash = 16; }
  map<string, int64> counts = 17;
}
message Outer {
  map<string, string> labels = 1;
  message Inner { Outer outer = 1; optional int32 number = 2; }
  Inner inner = 2;
  repeated Outer outers = 3;
}
"#;

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn compiled(text: &str, message: Option<&str>) -> Result<ProtobufSchema, String> {
    ProtobufSchema::compile("main.proto", BTreeMap::from([("main.proto".to_owned(), text.to_owned())]), message)
}

fn order() -> ProtobufSchema {
    compiled(ORDER, Some("shop.Order")).unwrap()
}

#[test]
fn every_type_is_read_exactly_as_another_implementation_wrote_it() {
    let want: Value = r#"{"order_id":-9223372036854775808,"total":18446744073709551615,"price":0.1,"rate":0.1,"note":"hé",
        "raw":"AP8=","state":"PAID","states":["NEW","PAID",7],"ids":[1,-1],"at":"2023-11-14T22:13:20.123456Z","took":"-1.500s",
        "extra":{"a":[1.0,null,{"b":"c"}]},"maybe":0,
        "what":{"@type":"type.googleapis.com/google.protobuf.Duration","value":"3s"},"cash":false,"counts":{"x":5}}"#
        .parse()
        .unwrap();
    assert_eq!(order().read(&unhex(ORDER_BYTES), false, &LIMITS).unwrap(), want);
}

#[test]
fn what_cannot_be_left_out_has_its_default_and_the_rest_is_not_there() {
    let want = r#"{"counts":{},"ids":[],"note":"","order_id":0,"price":0.0,"rate":0.0,"raw":"","state":"NEW","states":[],"total":0}"#;
    assert_eq!(order().read(b"", false, &LIMITS).unwrap().to_string(), want);
}

#[test]
fn a_registrys_message_says_which_message_of_the_schema_it_is() {
    let schema = compiled(ORDER, None).unwrap();
    let read = |bytes: &[u8]| schema.read(bytes, true, &LIMITS).map(|value| value.to_string());
    assert!(read(&[0]).unwrap().contains("order_id"));
    assert_eq!(read(&[2, 2]).unwrap(), r#"{"labels":{},"outers":[]}"#);
    // The entry of a map is no message that anybody counts.
    assert_eq!(read(&[4, 2, 0, 0x10, 7]).unwrap(), r#"{"number":7}"#);
    assert!(read(&[2, 4]).unwrap_err().contains("no message [2]"));
    assert!(read(b"").unwrap_err().contains("which message"));
}

#[test]
fn fields_that_the_schema_does_not_know_are_kept() {
    let value = compiled("syntax = \"proto3\"; message A { int32 a = 1; }", None).unwrap();
    let value = value.read(&[8, 1, 0x10, 5], false, &LIMITS).unwrap();
    assert_eq!(value.to_string(), r#"{"$unknown":"EAU=","a":1}"#);
}

#[test]
fn an_any_of_a_type_that_is_not_there_stays_bytes() {
    let any = b"\x72\x08\x0a\x03x/Y\x12\x01\xff";
    let value = order().read(any, false, &LIMITS).unwrap();
    assert_eq!(value["what"].to_string(), r#"{"@type":"x/Y","value":"/w=="}"#);
}

#[test]
fn a_message_that_is_cut_never_breaks_the_reader_and_depth_and_keys_are_bounded() {
    let bytes = unhex(ORDER_BYTES);
    let schema = order();
    for end in 0..bytes.len() {
        let _ = schema.read(&bytes[..end], false, &LIMITS);
    }
    assert!(schema.read(&[0x2a, 0xff, 0xff, 0xff, 0xff, 0x0f], false, &LIMITS).is_err());
    let outer = compiled(ORDER, Some("shop.Outer")).unwrap();
    let mut nested: Vec<u8> = Vec::new();
    for _ in 0..60 {
        let length = u8::try_from(nested.len()).unwrap();
        nested = [&[0x1a, length][..], &nested].concat();
    }
    let error = outer.read(&nested, false, &LIMITS).unwrap_err();
    assert!(error.contains("64 levels deep"), "{error}");
    let many = [0x1a_u8, 0].repeat(20_000);
    let error = outer.read(&many, false, &LIMITS).unwrap_err();
    assert!(error.contains("more than 10000 keys"), "{error}");
}

#[test]
fn what_is_no_schema_says_why_and_harms_nobody() {
    let deep = format!("syntax = \"proto3\"; {} {}", "message A { ".repeat(5_000), "}".repeat(5_000));
    let option = format!("option (x) = {} {};", "{ a: ".repeat(5_000), "}".repeat(5_000));
    for (text, why) in [
        ("message", ""),
        ("syntax = \"proto3\"; message A { Nobody a = 1; }", "Nobody"),
        ("syntax = \"proto3\"; import \"gone.proto\";", "gone.proto"),
        (deep.as_str(), "levels deep"),
        (option.as_str(), "levels deep"),
    ] {
        let error = compiled(text, None).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
    assert!(compiled(ORDER, Some("shop.Nobody")).unwrap_err().contains("it has no message"));
    assert!(ProtobufSchema::of_descriptor_set(b"\xff", "a.B").is_err());
}

#[test]
fn imports_are_files_or_those_that_are_always_here() {
    let money = "syntax = \"proto3\"; package pay; message Money { int64 cents = 1; }";
    let main = "syntax = \"proto3\"; import \"pay/money.proto\"; import \"confluent/meta.proto\"; import \"confluent/type/decimal.proto\"; \
                message A { pay.Money price = 1 [(confluent.field_meta).doc = \"x\"]; confluent.type.Decimal total = 2; }";
    assert_eq!(crate::protobuf::imports("a.proto", main).unwrap(), ["pay/money.proto"]);
    let files =
        BTreeMap::from([("a.proto".to_owned(), main.to_owned()), ("pay/money.proto".to_owned(), money.to_owned())]);
    let schema = ProtobufSchema::compile("a.proto", files, None).unwrap();
    let bytes = [0x0a, 2, 8, 5, 0x12, 6, 0x0a, 2, 0x30, 0x39, 0x18, 2];
    assert_eq!(schema.read(&bytes, false, &LIMITS).unwrap().to_string(), r#"{"price":{"cents":5},"total":123.45}"#);
}

/// What a compiler makes of a schema.
fn pool() -> DescriptorPool {
    let file = protox::file::File::from_source(
        "main.proto",
        "syntax = \"proto3\"; message N { int64 a = 1; uint64 b = 2; double c = 3; string d = 4; repeated N e = 5; sfixed64 f = 6; bytes g = 7; }",
    );
    let mut pool = DescriptorPool::new();
    pool.add_file_descriptor_proto(file.unwrap().into()).unwrap();
    pool
}

#[test]
fn a_negative_zero_that_is_written_is_read_as_one() {
    let mut set = Vec::new();
    pool().encode(&mut set).unwrap();
    let schema = ProtobufSchema::of_descriptor_set(&set, "N").unwrap();
    let value = schema.read(&[0x19, 0, 0, 0, 0, 0, 0, 0, 0x80], false, &LIMITS).unwrap();
    assert_eq!(value["c"], crate::numbers::double(-0.0));
}

proptest! {
    #[test]
    fn what_is_written_is_read_with_every_digit(a in any::<i64>(), b in any::<u64>(), c in any::<f64>(), d in ".{0,9}", f in any::<i64>(), times in 0..4_usize) {
        let pool = pool();
        // The encoder leaves a negative zero away, as if it were none.
        let c = if c == 0.0 { 0.0 } else { c };
        let mut message = DynamicMessage::new(pool.get_message_by_name("N").unwrap());
        message.set_field_by_name("a", FieldValue::I64(a));
        message.set_field_by_name("b", FieldValue::U64(b));
        message.set_field_by_name("c", FieldValue::F64(c));
        message.set_field_by_name("d", FieldValue::String(d.clone()));
        message.set_field_by_name("f", FieldValue::I64(f));
        message.set_field_by_name("e", FieldValue::List(vec![FieldValue::Message(message.clone()); times]));
        let mut set = Vec::new();
        pool.encode(&mut set).unwrap();
        let schema = ProtobufSchema::of_descriptor_set(&set, "N").unwrap();
        let value = schema.read(&message.encode_to_vec(), false, &LIMITS).unwrap();
        prop_assert_eq!(value["a"].as_i64(), Some(a));
        prop_assert_eq!(value["b"].as_u64(), Some(b));
        prop_assert_eq!(value["f"].as_i64(), Some(f));
        prop_assert_eq!(&value["d"], &d.as_str());
        prop_assert_eq!(&value["c"], &crate::numbers::double(c));
        prop_assert_eq!(value["e"].as_array().unwrap().len(), times);
    }

    #[test]
    fn no_bytes_break_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let limits = MessageLimits { depth_max: 256, ..LIMITS };
        let _ = order().read(&bytes, false, &limits);
        let _ = order().read(&bytes, true, &limits);
        let _ = ProtobufSchema::of_descriptor_set(&bytes, "A");
    }

    #[test]
    fn no_text_breaks_the_compiler(text in "\\PC{0,80}", name in "\\PC{0,5}") {
        let _ = compiled(&text, None);
        let _ = compiled(&format!("syntax = \"proto3\"; message {name} {{ {text} }}"), None);
    }
}
