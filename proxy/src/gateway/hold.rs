//! Holds refusals back on a connection that has too many of them in a row (`listener::patience`).
//! It waits with a timer, and no longer once draining begins.

use std::time::Instant;

use authsome_shared::code::Code;
use pingora::proxy::Session;
use tokio::time::timeout;

use super::Gateway;
use super::report::micros;
use crate::ctx::Ctx;
use crate::listener::connection::Connection;

impl Gateway {
    /// Waits for a refusal's turn, where the refusal is the client's own doing.
    pub(super) async fn hold(&self, session: &Session, ctx: &mut Ctx, code: Code) {
        let refused = matches!(
            code,
            Code::Unauthorized
                | Code::Forbidden
                | Code::NotFound
                | Code::RateLimitExceeded
                | Code::QuotaExceeded
        );
        let patience = Connection::patience(session).filter(|_| refused);
        let Some(patience) = patience else { return };
        let began = Instant::now();
        let held = patience.refuse(self.settings.load().connections.refusals_per_second, began);
        if held.is_zero() {
            return;
        }
        self.metrics.refusals_held.inc();
        let _ = timeout(held, self.draining.clone().wait_for(|draining| *draining)).await;
        // How long we took for it is told without that, and when it was with it.
        let held = began.elapsed();
        ctx.started += held;
        ctx.came = self.clock.after(ctx.came, micros(held));
    }
}
