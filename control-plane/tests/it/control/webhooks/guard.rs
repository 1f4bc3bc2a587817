//! Where deliveries may go: never to what is not public, unless the operator allows it. Nothing here
//! leaves this machine.

use std::net::SocketAddr;

use authsome_control_plane::execute;
use serde_json::json;

use super::Scene;
use crate::support::{NameServer, Receiver, text};

/// Names of the test's own server, each at an address that is not public.
const NAMES: &[(&str, &str)] = &[
    ("localhost.localdomain", "127.0.0.1"),
    ("metadata.google.internal", "169.254.169.254"),
    ("instance-data", "169.254.169.254"),
    ("kubernetes.default.svc", "10.96.0.1"),
    ("private.example", "10.0.0.5"),
    ("intranet.example", "192.168.7.7"),
    ("loop.example", "127.0.0.1"),
    ("127.0.0.1.nip.example", "127.0.0.1"),
    ("broad.example", "255.255.255.255"),
    ("carrier.example", "100.64.3.2"),
    ("v6loop.example", "::1"),
    ("v6local.example", "fe80::1"),
    ("v6unique.example", "fd00:ec2::254"),
    ("v6mapped.example", "::ffff:127.0.0.1"),
    ("v6nat64.example", "64:ff9b::7f00:1"),
    ("v6sixtofour.example", "2002:7f00:1::"),
];

const REFUSED: &[&str] = &[
    // Loopback in every spelling of an IPv4 address.
    "http://127.0.0.1/",
    "http://127.0.0.1:8080/",
    "https://127.0.0.1/",
    "http://127.1/",
    "http://127.0.1/",
    "http://127.255.255.254/",
    "http://2130706433/",
    "http://017700000001/",
    "http://0177.0.0.1/",
    "http://0177.0.0.01/",
    "http://0x7f.0.0.1/",
    "http://0x7f000001/",
    "http://0x7F.1/",
    "http://0x7f.0x0.0x0.0x1/",
    "http://127.0.0.0x1/",
    "http://127.0.0.1./",
    "http://127.1./",
    "http://0x7f000001./",
    "http:127.0.0.1",
    "http:///127.0.0.1/",
    "http:\\\\127.0.0.1\\",
    "hTTp://127.0.0.1/",
    // This host and network.
    "http://0/",
    "http://0.0.0.0/",
    "http://0x0/",
    "http://00000/",
    "http://0.1.2.3/",
    // Private networks.
    "http://10.0.0.1/",
    "http://10.255.255.255/",
    "http://10.1/",
    "http://167772161/",
    "http://012.0.0.1/",
    "http://0xa000001/",
    "http://172.16.0.1/",
    "http://172.31.255.255/",
    "http://2886729729/",
    "http://192.168.0.1/",
    "http://192.168.1/",
    "http://3232235521/",
    "http://0xc0a80001/",
    "http://0300.0250.0.1/",
    // Link-local, and where clouds keep their credentials.
    "http://169.254.0.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://2852039166/",
    "http://0xa9fea9fe/",
    "http://0251.0376.0251.0376/",
    "http://169.254.43518/",
    "http://169.254.170.2/v2/credentials",
    "http://100.100.100.200/latest/meta-data/",
    "http://192.0.0.192/opc/v1/",
    // Carriers, benchmarks, documentation, multicast, reserved, broadcast.
    "http://100.64.0.1/",
    "http://100.127.255.255/",
    "http://198.18.0.1/",
    "http://198.19.255.255/",
    "http://192.0.2.1/",
    "http://198.51.100.7/",
    "http://203.0.113.9/",
    "http://192.88.99.1/",
    "http://224.0.0.1/",
    "http://239.255.255.250/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    "http://4294967295/",
    // IPv6, and IPv4 inside of it.
    "http://[::1]/",
    "http://[::1]:8080/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[0000:0000:0000:0000:0000:0000:0000:0001]/",
    "http://[::]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::FFFF:7F00:0001]/",
    "http://[::ffff:10.0.0.1]/",
    "http://[::ffff:169.254.169.254]/",
    "http://[::ffff:0:127.0.0.1]/",
    "http://[::127.0.0.1]/",
    "http://[::7f00:1]/",
    "http://[64:ff9b::127.0.0.1]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[64:ff9b:1::1]/",
    "http://[2002:7f00:1::]/",
    "http://[2002:a00:1::1]/",
    "http://[2002:a9fe:a9fe::]/",
    "http://[2001::1]/",
    "http://[2001:db8::1]/",
    "http://[3fff::1]/",
    "http://[fe80::1]/",
    "http://[febf::1]/",
    "http://[fec0::1]/",
    "http://[fc00::1]/",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "http://[ff02::1]/",
    "http://[ff0e::1]/",
    "http://[100::1]/",
    "http://[5f00::1]/",
    // Zones and brackets.
    "http://[fe80::1%25eth0]/",
    "http://[fe80::1%eth0]/",
    "http://[::1%25lo]/",
    "http://[127.0.0.1]/",
    "http://[::1/",
    "http://::1/",
    "http://[[::1]]/",
    "http://[::1]@1.1.1.1/",
    // Credentials and fragments that hide the host.
    "http://user@127.0.0.1/",
    "http://user:password@1.1.1.1/",
    "http://1.1.1.1@127.0.0.1/",
    "http://1.1.1.1:80@127.0.0.1/",
    "http://127.0.0.1@1.1.1.1/",
    "http://1.1.1.1%40127.0.0.1/",
    "http://1.1.1.1#@127.0.0.1/",
    // Encoded, and in other scripts' digits, letters and dots.
    "http://127%2e0%2e0%2e1/",
    "http://%31%32%37.0.0.1/",
    "http://127%E3%80%820%E3%80%820%E3%80%821/",
    "http://１２７.０.０.１/",
    "http://①②⑦.⓪.⓪.①/",
    "http://127。0。0。1/",
    "http://127．0．0．1/",
    "http://127｡0｡0｡1/",
    "http://𝟏𝟐𝟕.𝟎.𝟎.𝟏/",
    "http://１６９.２５４.１６９.２５４/",
    "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/",
    "http://ｌｏｃａｌｈｏｓｔ/",
    // Names of this machine.
    "http://localhost/",
    "http://LOCALHOST/",
    "http://localhost./",
    "http://localhost:8080/",
    "http://some.localhost/",
    // Ports of other protocols.
    "http://1.1.1.1:0/",
    "http://1.1.1.1:22/",
    "http://1.1.1.1:25/",
    "http://1.1.1.1:6379/",
    "https://1.1.1.1:53/",
    "http://1.1.1.1:65536/",
    // Schemes, and none.
    "file:///etc/passwd",
    "file://localhost/etc/passwd",
    "gopher://127.0.0.1:6379/_FLUSHALL",
    "ftp://1.1.1.1/",
    "dict://127.0.0.1:11211/stats",
    "ldap://1.1.1.1/",
    "ws://1.1.1.1/",
    "unix:///var/run/docker.sock",
    "javascript:alert(1)",
    "data:text/plain,x",
    "//1.1.1.1/",
    "1.1.1.1",
    "http://",
    "http:// 127.0.0.1/",
    "http://1.1.1.1/\r\nHost: 127.0.0.1",
];

async fn names() -> NameServer {
    let names = NameServer::start().await;
    for (name, address) in NAMES {
        names.set(name, &[address]);
    }
    names
}

/// No address is allowed but public ones.
async fn strict(names: &NameServer) -> Scene {
    let server = names.address.to_string();
    Scene::with(|config| {
        config.egress.allow = None;
        config.egress.dns_server = server;
    })
    .await
}

fn refused() -> Vec<String> {
    let named = NAMES.iter().map(|(name, _)| format!("http://{name}/"));
    let all: Vec<String> = REFUSED.iter().map(ToString::to_string).chain(named).collect();
    assert!(all.len() >= 100, "{}", all.len());
    all
}

#[tokio::test]
async fn no_url_to_what_is_not_public_is_accepted() {
    let names = names().await;
    let scene = strict(&names).await;
    for url in refused() {
        let answer = scene.owner.post(&scene.path, json!({ "url": url })).await;
        assert_eq!(answer.status, 400, "{url}: {answer}");
        answer.assert_invalid("url");
    }
    for name in ["example.com", "hooks.example"] {
        names.set(name, &["93.184.216.34"]);
    }
    for url in [
        "https://example.com/",
        "http://hooks.example:8080/a?b=c",
        "https://93.184.216.34/",
        "https://[2606:4700::1111]/",
        // Not known just now: judged when it is sent to.
        "https://later.example/",
    ] {
        scene.owner.post(&scene.path, json!({ "url": url })).await.is(201);
    }
}

#[tokio::test]
async fn no_delivery_is_made_to_what_is_not_public_however_its_url_came_in() {
    let names = names().await;
    let scene = strict(&names).await;
    let hook = scene.webhook("https://1.1.1.1/", json!(["usage.threshold"])).await;
    let hook = format!("{}/{}", scene.path, text(&hook["id"]));
    for url in refused() {
        let mut tx = scene.app.write().await;
        execute!(tx, sqlx::query("update webhooks set url = $1").bind(&url)).unwrap();
        tx.commit().await.unwrap();
        let delivery = scene.test(&hook).await;
        assert_eq!(scene.app.deliver().await, 1);
        let seen = scene.owner.get(&delivery).await.json(200);
        assert_eq!(seen["history"][0]["status"], json!(null), "{url}: {seen}");
        assert!(!text(&seen["history"][0]["error"]).is_empty(), "{url}: {seen}");
        assert_eq!(seen["status"], "pending", "{url}");
    }
}

#[tokio::test]
async fn the_reason_of_a_refusal_says_what_the_operator_can_do() {
    let names = names().await;
    let scene = strict(&names).await;
    for (url, words) in [
        ("http://127.0.0.1/", "127.0.0.1 is not at a public address"),
        ("http://private.example/", "private.example is not at a public address"),
    ] {
        let error = scene.owner.post(&scene.path, json!({ "url": url })).await;
        let message = text(&error.error(400, "invalid_request")["message"]);
        assert!(message.contains(words) && message.contains("egress.allow"), "{message}");
    }
}

#[tokio::test]
async fn a_name_that_turns_to_this_machine_after_it_was_accepted_is_not_sent_to() {
    let names = NameServer::start().await;
    names.set_in_turn("rebind.example", &[&["93.184.216.34"], &["127.0.0.1"]]);
    let scene = strict(&names).await;
    let receiver = Receiver::start().await;
    let url = format!("http://rebind.example:{}/", receiver.address.port());
    let hook = text(&scene.webhook(&url, json!(["*"])).await["id"]);
    let delivery = scene.test(&format!("{}/{hook}", scene.path)).await;
    scene.app.deliver().await;
    let seen = scene.owner.get(&delivery).await.json(200);
    assert!(text(&seen["lastError"]).contains("not at a public address"), "{seen}");
    assert!(receiver.received().is_empty());
}

/// Two endpoints at one port, of which the first may be sent to.
async fn allowed_and_forbidden() -> (Receiver, Receiver) {
    // The port is free at the second address unless something else has just taken it.
    loop {
        let allowed = Receiver::start_at(([127, 0, 0, 2], 0).into()).await;
        let address = SocketAddr::from(([127, 0, 0, 1], allowed.address.port()));
        if std::net::TcpListener::bind(address).is_ok() {
            return (allowed, Receiver::start_at(address).await);
        }
    }
}

#[tokio::test]
async fn a_connection_is_made_to_the_very_address_that_was_judged() {
    let names = NameServer::start().await;
    let server = names.address.to_string();
    let scene = Scene::with(|config| {
        config.egress.allow = Some(vec!["127.0.0.2/32".parse().unwrap()]);
        config.egress.dns_server = server;
    })
    .await;
    let (allowed, forbidden) = allowed_and_forbidden().await;
    let url = format!("http://turns.example:{}/", allowed.address.port());
    let turns: [&[&str]; 4] =
        [&["127.0.0.2"], &["127.0.0.2"], &["127.0.0.1"], &["127.0.0.1", "127.0.0.2"]];
    names.set_in_turn("turns.example", &turns);
    let hook = text(&scene.webhook(&url, json!(["*"])).await["id"]);
    let hook = format!("{}/{hook}", scene.path);
    assert_eq!(names.asked("turns.example"), 1);

    // Asked once for the attempt: what would be answered next is loopback.
    scene.test(&hook).await;
    scene.app.deliver().await;
    assert_eq!(names.asked("turns.example"), 2);
    assert_eq!(allowed.received().len(), 1);
    assert_eq!(allowed.only().header("host"), format!("turns.example:{}", allowed.address.port()));
    // Each attempt asks anew, and is refused by what it is told then.
    let delivery = scene.test(&hook).await;
    scene.app.deliver().await;
    assert_eq!(names.asked("turns.example"), 3);
    assert!(text(&scene.owner.get(&delivery).await.json(200)["lastError"]).contains("public"));
    // Of several addresses only those that may be connected to are.
    scene.test(&hook).await;
    scene.app.deliver().await;
    assert_eq!(names.asked("turns.example"), 4);
    assert_eq!((allowed.received().len(), forbidden.received().len()), (2, 0));
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let scene = Scene::new().await;
    let (receiver, hook) = scene.receiver(json!(["*"])).await;
    let target = Receiver::start().await;
    for status in [301, 302, 303, 307, 308] {
        let location = vec![("location", target.url())];
        receiver.answer_with(status, location, "");
        let delivery = scene.test(&hook).await;
        scene.app.deliver().await;
        let seen = scene.owner.get(&delivery).await.json(200);
        assert_eq!((&seen["status"], &seen["lastStatus"]), (&json!("pending"), &json!(status)));
        assert!(text(&seen["lastError"]).contains("redirects are not followed"));
    }
    assert_eq!((receiver.received().len(), target.received().len()), (5, 0));
}
