//! Changes of a packed file that leave its container valid, so that the checks behind it are
//! reached.
//!
//! A file is taken apart into header, graph, numbers and weights; a few things are changed; and it
//! is put together with lengths and a digest that are right again, most of the time.

use litesnn_engine::file;
use serde_json::{Number, Value, json};
use sha2::{Digest, Sha256};

use crate::networks::Random;

/// A tensor of the header, as it is told.
struct Tensor {
    name: &'static str,
    kind: &'static str,
    shape: Vec<u64>,
    bytes: Vec<u8>,
}

/// A packed file, taken apart.
pub struct Parts {
    graph: Value,
    numbers: Vec<u8>,
    weights: Vec<u8>,
}

/// Numbers at which a count, a place or a sum goes wrong.
const EDGES: [i128; 21] = [
    -1,
    -2,
    0,
    1,
    2,
    3,
    15,
    16,
    31,
    32,
    254,
    255,
    256,
    65_535,
    65_536,
    1 << 24,
    1 << 28,
    i32::MAX as i128,
    u32::MAX as i128,
    i64::MIN as i128,
    u64::MAX as i128,
];

impl Parts {
    /// Of a file as [`file::write`] makes it.
    pub fn of(file: &[u8]) -> Parts {
        let tensors = safetensors::SafeTensors::deserialize(file).unwrap();
        let part = |name: &str| tensors.tensor(name).unwrap().data().to_vec();
        Parts {
            graph: serde_json::from_slice(&part("graph")).unwrap(),
            numbers: part("numbers"),
            weights: part("weights"),
        }
    }

    /// A file with one to three changes.
    pub fn mutated(&self, random: &mut Random) -> Vec<u8> {
        let (mut graph, mut numbers, mut weights) = (self.graph.clone(), self.numbers.clone(), self.weights.clone());
        let mut header = false;
        for _ in 0..1 + random.below(3) {
            match random.below(10) {
                0 => numbers_changed(&mut numbers, random),
                1 => bytes_changed(&mut weights, random),
                2 => header = true,
                _ => graph_changed(&mut graph, random),
            }
        }
        let mut graph = graph.to_string();
        if random.below(64) == 0 {
            // A key that is there twice.
            graph = graph.replacen('{', "{\"timesteps\":1,", 1);
        }
        let tensor = |name, kind, shape, bytes| Tensor { name, kind, shape: vec![shape as u64], bytes };
        let mut tensors = vec![
            tensor("numbers", "F32", numbers.len() / 4, numbers),
            tensor("graph", "U8", graph.len(), graph.into_bytes()),
            tensor("weights", "U8", weights.len(), weights),
        ];
        if header {
            header_changed(&mut tensors, random);
        }
        together(&tensors, random)
    }
}

/// A file of these tensors, with the digest of their bytes.
fn together(tensors: &[Tensor], random: &mut Random) -> Vec<u8> {
    let mut digest = Sha256::new();
    let (mut entries, mut data) = (Vec::new(), Vec::new());
    for tensor in tensors {
        let begin = data.len() as u64;
        data.extend(&tensor.bytes);
        let mut ends = [begin, data.len() as u64];
        if random.below(400) == 0 {
            let end = &mut ends[random.below(2) as usize];
            *end = end.wrapping_add_signed(random.below(3) as i64 - 1);
        }
        let entry = json!({ "dtype": tensor.kind, "shape": tensor.shape, "data_offsets": ends });
        entries.push(format!("\"{}\":{entry}", tensor.name));
    }
    digest.update(&data);
    let digest: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let digest = if random.below(200) == 0 { digest.to_uppercase() } else { digest };
    let more = if random.below(200) == 0 { ",\"more\":\"\"" } else { "" };
    let header = format!("{{\"__metadata__\":{{\"litesnn packed 1\":\"{digest}\"{more}}},{}}}", entries.join(","));
    let header = header.into_bytes();
    let header = [&header[..], &b" ".repeat(header.len().next_multiple_of(8) - header.len())].concat();
    [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat()
}

/// Tensors swapped, left out, there twice, of another type or shape.
fn header_changed(tensors: &mut Vec<Tensor>, random: &mut Random) {
    let (one, other) = (random.below(3) as usize, random.below(3) as usize);
    match random.below(7) {
        0 => tensors.swap(one, other),
        1 => {
            let name = tensors[one].name;
            tensors[one].name = tensors[other].name;
            tensors[other].name = name;
        }
        2 => drop(tensors.remove(one)),
        3 => tensors[one].name = tensors[other].name,
        4 => tensors[one].kind = ["F32", "U8", "I8", "BOOL", "F16", "I32", "F64", "F4"][random.below(8) as usize],
        5 => {
            let shape = &mut tensors[one].shape;
            match random.below(3) {
                0 => shape.push(1),
                1 => shape.clear(),
                _ => shape[0] = shape[0].wrapping_add_signed(random.below(3) as i64 - 1),
            }
        }
        _ => tensors.push(Tensor { name: "more", kind: "U8", shape: vec![0], bytes: Vec::new() }),
    }
}

/// A number that is none, a large one, or one more or fewer.
fn numbers_changed(numbers: &mut Vec<u8>, random: &mut Random) {
    let odd = [f32::NAN, f32::INFINITY, -0.0, 0.0, -1.0, f32::MAX, f32::MIN_POSITIVE / 2.0];
    match random.below(4) {
        0 => numbers.truncate(numbers.len().saturating_sub(4)),
        1 => numbers.extend(1f32.to_le_bytes()),
        _ => {
            let at = 4 * random.below(numbers.len() as u64 / 4 + 1) as usize;
            let odd = odd[random.below(odd.len() as u64) as usize];
            numbers.iter_mut().skip(at).zip(odd.to_le_bytes()).for_each(|(byte, odd)| *byte = odd);
        }
    }
}

/// A bit flipped, a byte more or fewer, or two bytes swapped.
fn bytes_changed(bytes: &mut Vec<u8>, random: &mut Random) {
    let mut place = || random.below(bytes.len().max(1) as u64) as usize;
    let (one, other) = (place(), place());
    match random.below(5) {
        0 => drop(bytes.pop()),
        1 => bytes.push(random.below(256) as u8),
        2 if !bytes.is_empty() => bytes.swap(one, other),
        _ => bytes.iter_mut().skip(one).take(1).for_each(|byte| *byte ^= 1 << random.below(8)),
    }
}

/// One value of the graph becomes another, or a list or an object gets other members.
fn graph_changed(graph: &mut Value, random: &mut Random) {
    let mut count = 0;
    visit(graph, &mut |_| count += 1);
    let (wanted, given) = (random.below(count), random.below(count));
    let (mut at, mut copy) = (0, Value::Null);
    visit(graph, &mut |value| {
        if at == given {
            copy = value.clone();
        }
        at += 1;
    });
    at = 0;
    let change = random.next();
    visit(graph, &mut |value| {
        if at == wanted {
            changed(value, &copy, &mut Random(change));
        }
        at += 1;
    });
}

fn visit(value: &mut Value, seen: &mut impl FnMut(&mut Value)) {
    match value {
        Value::Array(all) => all.iter_mut().for_each(|value| visit(value, seen)),
        Value::Object(all) => all.values_mut().for_each(|value| visit(value, seen)),
        _ => {}
    }
    seen(value);
}

/// Another value in place of this one; `copy` is one from elsewhere.
fn changed(value: &mut Value, copy: &Value, random: &mut Random) {
    let same_kind = std::mem::discriminant(value) == std::mem::discriminant(copy);
    if random.below(16) == 0 || same_kind && random.below(3) == 0 {
        *value = copy.clone();
        return;
    }
    if random.below(16) == 0 {
        let others = [Value::Null, json!(true), json!(""), json!([]), json!({}), json!(0.5), json!(1e300)];
        *value = others[random.below(others.len() as u64) as usize].clone();
        return;
    }
    match value {
        Value::Number(number) => {
            let edge = EDGES[random.below(EDGES.len() as u64) as usize];
            let told = number.as_i128().unwrap_or(0);
            let next = [edge, told + 1, told - 1, told * 2, told / 2, told ^ 1 << random.below(33)];
            if let Some(next) = Number::from_i128(next[random.below(6) as usize]) {
                *number = next;
            }
        }
        Value::String(text) => match random.below(3) {
            0 => text.clear(),
            1 => text.push('\u{fffd}'),
            _ => *text = text.repeat(2),
        },
        Value::Array(all) if !all.is_empty() => {
            let mut place = || random.below(all.len() as u64) as usize;
            let (one, other) = (place(), place());
            match random.below(5) {
                0 => drop(all.remove(one)),
                1 => all.insert(one, all[other].clone()),
                2 => all.insert(one, copy.clone()),
                3 => all.truncate(one),
                _ => all.swap(one, other),
            }
        }
        Value::Object(all) if !all.is_empty() => {
            let key = all.keys().nth(random.below(all.len() as u64) as usize).expect("it has a key").clone();
            match random.below(3) {
                0 => drop(all.remove(&key)),
                1 => drop(all.insert("more".into(), copy.clone())),
                _ => drop(all.insert(key, copy.clone())),
            }
        }
        Value::Bool(is) => *is = !*is,
        _ => *value = copy.clone(),
    }
}

/// What a refusal says, without its numbers and names: which check it comes from.
pub fn check_of(why: &file::Unreadable) -> String {
    let mut named = false;
    let text = why.to_string();
    let plain = text.chars().filter(|sign| {
        named ^= *sign == '`';
        !named && !sign.is_ascii_digit()
    });
    plain.collect()
}
