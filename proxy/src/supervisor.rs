//! Tells systemd how we are, when it wants to know (`Type=notify`): a datagram to the socket that
//! it names in the environment (`sd_notify(3)`). Without that variable, or when it can't be told,
//! nothing happens.

use std::os::unix::net::UnixDatagram;

/// Sends lines such as `READY=1`.
pub fn tell(state: &str) {
    #[expect(clippy::disallowed_methods, reason = "not a setting: systemd's own")]
    let Ok(path) = std::env::var("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(&path, state) {
        tracing::debug!(%error, "systemd can't be told");
    }
}

fn send(path: &str, state: &str) -> std::io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    match path.strip_prefix('@') {
        #[cfg(target_os = "linux")]
        Some(name) => {
            use std::os::linux::net::SocketAddrExt;
            let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
            socket.send_to_addr(state.as_bytes(), &address)?;
        }
        _ => {
            socket.send_to(state.as_bytes(), path)?;
        }
    }
    Ok(())
}
