//! `/control/v1/workspaces/{workspaceId}/usage/export`.

use serde_json::json;

use super::breakdown::Scene;
use crate::support::text;

async fn table(scene: &Scene, query: &str) -> Vec<String> {
    let answer = scene.owner.get(&scene.path(&format!("export?{query}"))).await;
    answer.is(200);
    assert_eq!(answer.header("content-type"), Some("text/csv; charset=utf-8"));
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    assert!(text.ends_with("\r\n"));
    text.split_terminator("\r\n").map(ToOwned::to_owned).collect()
}

#[tokio::test]
async fn a_month_is_a_table_by_application() {
    let scene = Scene::new().await;
    scene.used().await;
    let report = json!({
        "applicationId": scene.applications[0]["id"], "bytes": 1_610_612_736_u64,
        "at": "2026-03-01T00:00:00Z",
    });
    let body = json!({ "reports": [report] });
    scene.app.ingest().post("/control/v1/ingest/storage", body).await.is(200);
    let (one, two) = (text(&scene.applications[0]["id"]), text(&scene.applications[1]["id"]));
    assert_eq!(
        table(&scene, "").await,
        [
            "\"period\",\"application\",\"applicationName\",\"requests\",\"units\",\"errors\",\
             \"bytesIn\",\"bytesOut\",\"activeUsers\",\"storageBytes\",\"storageGbMonths\""
                .to_owned(),
            // A name that a spreadsheet would run is led by an apostrophe.
            format!(
                "\"2026-03\",\"{two}\",\"'=cmd|' /C calc'!A0\",\"9\",\"25\",\"2\",\"90\",\"900\",\
                 \"3\",\"0\",\"0\""
            ),
            format!(
                "\"2026-03\",\"{one}\",\"Production\",\"6\",\"21\",\"1\",\"60\",\"600\",\"2\",\
                 \"1610612736\",\"1.5\""
            ),
        ]
    );
    let answer = scene.owner.get(&scene.path("export?period=2026-03")).await;
    let name =
        format!("attachment; filename=\"usage-{}-2026-03-by-application.csv\"", scene.workspace);
    assert_eq!(answer.header("content-disposition"), Some(name.as_str()));
}

#[tokio::test]
async fn keys_and_routes_have_columns_of_their_own_and_all_rows_are_there() {
    let scene = Scene::new().await;
    scene.used().await;
    let keys = table(&scene, "by=key").await;
    assert!(keys[0].contains("\"key\",\"keyName\",\"requests\""), "{}", keys[0]);
    assert_eq!(keys.len(), 1 + 3);
    let routes = table(&scene, "by=route").await;
    assert!(routes[0].contains("\"applicationName\",\"route\",\"requests\""), "{}", routes[0]);
    assert_eq!(routes.len(), 1 + 6);
    let one = text(&scene.applications[0]["id"]);
    assert_eq!(table(&scene, &format!("by=route&applicationId={one}")).await.len(), 1 + 3);
    assert_eq!(table(&scene, "period=2020-01").await.len(), 1);
}

#[tokio::test]
async fn what_can_not_be_asked_is_refused() {
    let scene = Scene::new().await;
    for (query, field) in
        [("period=now", "period"), ("by=colour", "by"), ("applicationId=x", "applicationId")]
    {
        scene.owner.get(&scene.path(&format!("export?{query}"))).await.assert_invalid(field);
    }
}
