//! One request over HTTP/1 on a client's connection: the engine's session reads and writes it, and
//! nothing of the engine's proxy is between that and the gateway. What must be left to the engine
//! after all is given back with its head unread and its decision made.

use pingora::protocols::http::ServerSession;
use pingora::proxy::Session;
use pingora::{Error, ErrorType};

use super::{Gateway, respond};
use crate::ctx::Ctx;
use crate::listener::connection::Connection;

/// What has become of a request.
pub enum Served {
    /// It was answered, and another may follow.
    Kept(Box<Connection>),
    /// The connection is at its end.
    Ended,
    /// The engine must go on.
    Left(Box<Connection>),
}

impl Gateway {
    /// Serves the request whose head the connection has read.
    pub async fn serve(&self, connection: Box<Connection>) -> Served {
        let idle = connection.idle_limit();
        let mut session = Session::new_h1(connection);
        session.set_keepalive(Some(idle.as_secs()));
        match session.downstream_session.read_request().await {
            Ok(true) => {}
            Ok(false) => return Served::Ended,
            Err(error) => {
                misread(&mut session, &error).await;
                return Served::Ended;
            }
        }
        let mut ctx = self.context();
        self.begin(&mut session);
        match self.request(&mut session, &mut ctx).await {
            Ok(true) => {
                self.end(&session, None, &mut ctx);
                kept(session).await.map_or(Served::Ended, Served::Kept)
            }
            Ok(false) => leave(session, ctx).map_or(Served::Ended, Served::Left),
            Err(error) => {
                respond::failed(self, &mut session, &error, &mut ctx).await;
                self.end(&session, Some(&error), &mut ctx);
                Served::Ended
            }
        }
    }
}

/// The connection, if another request may follow on it.
async fn kept(session: Session) -> Option<Box<Connection>> {
    let (stream, _) = session.downstream_session.finish().await.ok()??.into_parts();
    stream.into_any().downcast().ok()
}

/// The connection as before its request's head was read, with what was decided.
fn leave(session: Session, ctx: Box<Ctx>) -> Option<Box<Connection>> {
    let head = session.as_downstream().as_http1()?.get_headers_raw_bytes();
    let ServerSession::H1(http1) = *session.downstream_session else { return None };
    let mut connection: Box<Connection> = http1.into_inner().into_any().downcast().ok()?;
    connection.unread(&head, ctx);
    Some(connection)
}

/// What `listener` let pass the engine could not read.
async fn misread(session: &mut Session, error: &Error) {
    tracing::debug!(%error, "a head that the engine does not take");
    if *error.etype() == ErrorType::InvalidHTTPHeader {
        let _ = session.downstream_session.respond_error(400).await;
    }
    session.downstream_session.shutdown().await;
}
