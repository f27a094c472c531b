//! A small writer of MaxMind databases, after <https://maxmind.github.io/MaxMind-DB/>: 24-bit records, addresses of
//! version 6 with those of version 4 below `::/96`.

use std::net::IpAddr;

use serde_json::{Value, json};

#[derive(Clone, Copy)]
enum Child {
    Nothing,
    Node(usize),
    Data(usize),
}

/// A database in which each network (`203.0.113.0/24`) has its record. Networks do not overlap.
pub fn database(networks: &[(&str, Value)]) -> Vec<u8> {
    let (mut nodes, mut data) = (vec![[Child::Nothing; 2]], Vec::new());
    for (network, record) in networks {
        let (address, len) = network.split_once('/').unwrap();
        let (bits, len) = match address.parse().unwrap() {
            IpAddr::V4(address) => (u128::from(u32::from(address)), len.parse::<u32>().unwrap() + 96),
            IpAddr::V6(address) => (u128::from(address), len.parse().unwrap()),
        };
        let offset = data.len();
        encode(&mut data, record);
        let bit = |at: u32| usize::from(bits >> (127 - at) & 1 == 1);
        let mut node = 0;
        for at in 0..len - 1 {
            node = match nodes[node][bit(at)] {
                Child::Node(next) => next,
                Child::Nothing => {
                    nodes.push([Child::Nothing; 2]);
                    nodes[node][bit(at)] = Child::Node(nodes.len() - 1);
                    nodes.len() - 1
                }
                Child::Data(_) => panic!("{network} overlaps another"),
            };
        }
        nodes[node][bit(len - 1)] = Child::Data(offset);
    }
    let mut out = Vec::new();
    for child in nodes.iter().flatten() {
        let record = match child {
            Child::Nothing => nodes.len(),
            Child::Node(node) => *node,
            Child::Data(offset) => nodes.len() + 16 + offset,
        };
        out.extend_from_slice(&u32::try_from(record).unwrap().to_be_bytes()[1..]);
    }
    out.extend_from_slice(&[0; 16]);
    out.extend_from_slice(&data);
    out.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
    let metadata = json!({
        "node_count": nodes.len(), "record_size": 24, "ip_version": 6, "database_type": "Test-City", "languages": ["en"],
        "binary_format_major_version": 2, "binary_format_minor_version": 0, "build_epoch": 1_700_000_000_u64,
        "description": {"en": "a test"},
    });
    encode(&mut out, &metadata);
    out
}

fn encode(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => panic!("the format has no null"),
        Value::Bool(value) => out.extend([u8::from(*value), 14 - 7]),
        Value::Number(number) => match number.as_u64() {
            Some(number) => {
                let bytes = number.to_be_bytes();
                let bytes = &bytes[(number.leading_zeros() / 8) as usize..];
                out.extend([u8::try_from(bytes.len()).unwrap(), 9 - 7]);
                out.extend(bytes);
            }
            None => {
                out.push(3 << 5 | 8);
                out.extend(number.as_f64().unwrap().to_be_bytes());
            }
        },
        Value::String(text) => {
            control(out, 2, text.len());
            out.extend(text.bytes());
        }
        Value::Array(items) => {
            out.extend([u8::try_from(items.len()).unwrap(), 11 - 7]);
            items.iter().for_each(|item| encode(out, item));
        }
        Value::Object(entries) => {
            control(out, 7, entries.len());
            for (key, value) in entries {
                encode(out, &Value::String(key.clone()));
                encode(out, value);
            }
        }
    }
}

fn control(out: &mut Vec<u8>, kind: u8, len: usize) {
    match len {
        0..29 => out.push(kind << 5 | u8::try_from(len).unwrap()),
        29..285 => out.extend([kind << 5 | 29, u8::try_from(len - 29).unwrap()]),
        _ => {
            let rest = u16::try_from(len - 285).unwrap().to_be_bytes();
            out.extend([kind << 5 | 30, rest[0], rest[1]]);
        }
    }
}
