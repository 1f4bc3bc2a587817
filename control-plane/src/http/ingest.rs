//! What the operator's own programs report (`/control/v1/ingest`): storage, and events of meters.
//! Let in by the ingest token, or by a platform admin's session. A batch is taken whole or not at
//! all; each entry that can't be is named by its place.

mod meters;
mod storage;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(storage::report_storage))
        .routes(routes!(meters::send_meter_events))
}
