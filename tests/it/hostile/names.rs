//! A name server that says what a test wants, and may say something else each time.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;

/// What is asked for, and what is told (RFC 1035, RFC 3596).
const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;
/// A response, recursion done and to be had.
const RESPONSE: u16 = 0x8180;
const NO_SUCH_NAME: u16 = 3;

/// Answers at port 53 of the loopback, which is this machine's own while it is apart. It ends with the test's runtime.
#[derive(Clone, Debug, Default)]
pub(super) struct Names(Arc<Mutex<HashMap<String, Entry>>>);

#[derive(Debug, Default)]
struct Entry {
    alias_of: Option<String>,
    /// One answer after the other, and then from the start.
    turns: Vec<Vec<IpAddr>>,
    /// How often each type has been asked for.
    asked: HashMap<u16, usize>,
}

impl Names {
    pub(super) async fn serve() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 53)).await.unwrap();
        let names = Self::default();
        let served = names.clone();
        tokio::spawn(async move {
            let mut message = [0; 512];
            while let Ok((length, client)) = socket.recv_from(&mut message).await {
                if let Some(answer) = served.answer(&message[..length]) {
                    // A client that has left asks no more.
                    let _ = socket.send_to(&answer, client).await;
                }
            }
        });
        names
    }

    /// From now on the name has these addresses.
    pub(super) fn set(&self, name: &str, addresses: &[&str]) {
        self.turn(name, &[addresses]);
    }

    /// From now on the name has other addresses each time it is looked up.
    pub(super) fn turn(&self, name: &str, turns: &[&[&str]]) {
        let parsed = |turn: &&[&str]| turn.iter().map(|text| text.parse().unwrap()).collect();
        let entry = Entry {
            turns: turns.iter().map(parsed).collect(),
            ..Entry::default()
        };
        self.0.lock().unwrap().insert(name.to_owned(), entry);
    }

    /// From now on the name stands for another one.
    pub(super) fn alias(&self, name: &str, of: &str) {
        let entry = Entry {
            alias_of: Some(of.to_owned()),
            ..Entry::default()
        };
        self.0.lock().unwrap().insert(name.to_owned(), entry);
    }

    /// How often the name has been looked up since it was set.
    pub(super) fn asked(&self, name: &str) -> usize {
        let entries = self.0.lock().unwrap();
        let asked = entries.get(name).map(|entry| entry.asked.values().copied());
        asked.and_then(Iterator::max).unwrap_or_default()
    }

    fn answer(&self, question: &[u8]) -> Option<Vec<u8>> {
        let (name, end) = read_name(question, 12)?;
        let kind = u16::from_be_bytes(question.get(end..end + 2)?.try_into().ok()?);
        let mut entries = self.0.lock().unwrap();
        let mut records = Vec::new();
        let mut owner = name;
        let found = loop {
            let Some(entry) = entries.get_mut(&owner) else {
                break false;
            };
            let asked = entry.asked.entry(kind).or_default();
            let turn = *asked;
            *asked += 1;
            if let Some(other) = entry.alias_of.clone() {
                records.push(record(&owner, CNAME, &name_bytes(&other)));
                owner = other;
                continue;
            }
            let addresses = &entry.turns[turn % entry.turns.len()];
            for address in addresses {
                match (kind, address) {
                    (A, IpAddr::V4(ip)) => records.push(record(&owner, A, &ip.octets())),
                    (AAAA, IpAddr::V6(ip)) => records.push(record(&owner, AAAA, &ip.octets())),
                    _ => {}
                }
            }
            break true;
        };
        let flags = RESPONSE | if found { 0 } else { NO_SUCH_NAME };
        let mut message = question[..2].to_vec();
        for word in [flags, 1, u16::try_from(records.len()).ok()?, 0, 0] {
            message.extend(word.to_be_bytes());
        }
        message.extend(&question[12..end + 4]);
        message.extend(records.concat());
        Some(message)
    }
}

/// A name in a question, and where it ends.
fn read_name(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        let label = message.get(at..at + length)?;
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        at += length;
    }
}

fn name_bytes(name: &str) -> Vec<u8> {
    let label = |label: &str| {
        let length = u8::try_from(label.len()).expect("labels are short");
        [&[length], label.as_bytes()].concat()
    };
    let mut bytes: Vec<u8> = name.split('.').flat_map(label).collect();
    bytes.push(0);
    bytes
}

/// A record that is good for this once.
fn record(owner: &str, kind: u16, data: &[u8]) -> Vec<u8> {
    let mut record = name_bytes(owner);
    let length = u16::try_from(data.len()).expect("data is short");
    for word in [kind, 1, 0, 0, length] {
        record.extend(word.to_be_bytes());
    }
    record.extend(data);
    record
}
