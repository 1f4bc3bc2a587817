//! A name server on a free UDP port of this machine that answers what a test tells it (RFC 1035).

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

const A: u16 = 1;
const AAAA: u16 = 28;

#[derive(Default)]
struct Zone {
    /// What a name has, one list for each time it is asked; the last one stays.
    names: HashMap<String, Vec<Vec<IpAddr>>>,
    /// The questions for IPv4 addresses, by name.
    asked: Vec<String>,
}

pub struct NameServer {
    pub address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    server: JoinHandle<()>,
}

impl NameServer {
    pub async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let zone = Arc::new(Mutex::new(Zone::default()));
        let shared = Arc::clone(&zone);
        let server = tokio::spawn(async move {
            let mut packet = [0; 512];
            loop {
                let (length, from) = socket.recv_from(&mut packet).await.unwrap();
                let answer = answer(&packet[..length], &mut shared.lock());
                socket.send_to(&answer, from).await.unwrap();
            }
        });
        Self { address, zone, server }
    }

    /// The addresses of a name, from now on.
    pub fn set(&self, name: &str, addresses: &[&str]) {
        self.set_in_turn(name, &[addresses]);
    }

    /// The addresses of a name, another list each time it is asked; the last one stays.
    pub fn set_in_turn(&self, name: &str, turns: &[&[&str]]) {
        let parse = |list: &&[&str]| list.iter().map(|address| address.parse().unwrap()).collect();
        let turns = turns.iter().map(parse).collect();
        self.zone.lock().names.insert(name.to_owned(), turns);
    }

    /// How often a name's IPv4 addresses were asked for.
    pub fn asked(&self, name: &str) -> usize {
        self.zone.lock().asked.iter().filter(|asked| *asked == name).count()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// The answer to a query of one question.
fn answer(query: &[u8], zone: &mut Zone) -> Vec<u8> {
    let mut labels = vec![];
    let mut at = 12;
    while query[at] != 0 {
        let length = usize::from(query[at]);
        let label = String::from_utf8_lossy(&query[at + 1..=at + length]);
        labels.push(label.to_ascii_lowercase());
        at += 1 + length;
    }
    let kind = u16::from_be_bytes([query[at + 1], query[at + 2]]);
    let question = &query[12..at + 5];
    let name = labels.join(".");
    if kind == A {
        zone.asked.push(name.clone());
    }
    let turn = zone.asked.iter().filter(|asked| **asked == name).count().saturating_sub(1);
    let known = zone.names.get(&name);
    let addresses = known.and_then(|turns| turns.get(turn).or(turns.last()));
    let records: Vec<Vec<u8>> = addresses
        .into_iter()
        .flatten()
        .filter_map(|address| match (address, kind) {
            (IpAddr::V4(v4), A) => Some(v4.octets().to_vec()),
            (IpAddr::V6(v6), AAAA) => Some(v6.octets().to_vec()),
            _ => None,
        })
        .collect();

    let mut answer = query[..2].to_vec();
    // A response, recursion available; no such name unless it is known.
    answer.extend([0x81, if known.is_some() { 0x80 } else { 0x83 }]);
    answer.extend([0, 1]);
    answer.extend(u16::try_from(records.len()).unwrap().to_be_bytes());
    answer.extend([0, 0, 0, 0]);
    answer.extend(question);
    for record in records {
        // The name is the question's.
        answer.extend([0xc0, 12]);
        answer.extend(kind.to_be_bytes());
        answer.extend([0, 1, 0, 0, 0, 60]);
        answer.extend(u16::try_from(record.len()).unwrap().to_be_bytes());
        answer.extend(record);
    }
    answer
}
