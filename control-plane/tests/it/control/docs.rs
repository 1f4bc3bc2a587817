//! `/control/v1/docs`.

use super::openapi::operations;
use crate::support::TestApp;

const PATH: &str = "/control/v1/docs";

#[tokio::test]
async fn the_page_shows_every_operation_to_anybody() {
    let app = TestApp::new().await;
    let answer = app.anonymous().get(PATH).await;
    answer.is(200);
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    let page = String::from_utf8(answer.body.to_vec()).unwrap();
    for (path, method, operation) in operations() {
        let id = operation["operationId"].as_str().unwrap();
        assert!(page.contains(&format!("<article id=\"{id}\">")), "{id} is not on the page");
        assert!(page.contains(&format!("<a href=\"#{id}\">")), "{id} is not in the index");
        let shown = path.replace('{', "<i>{").replace('}', "}</i>");
        assert!(page.contains(&format!("<code>{shown}</code>")), "{method} {path}");
    }
}

/// Nothing is fetched from elsewhere, and no script runs.
#[tokio::test]
async fn the_page_works_offline_and_runs_nothing() {
    let app = TestApp::new().await;
    let anybody = app.anonymous();
    let answer = anybody.get(PATH).await;
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'self';"), "{policy}");
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    let page = String::from_utf8(answer.body.to_vec()).unwrap();
    for word in ["<script", " src=", "style=\"", "onclick", "@import"] {
        assert!(!page.contains(word), "{word} is on the page");
    }
    let mut loaded = page.split("<link rel=\"stylesheet\" href=\"").skip(1);
    assert!(loaded.next().unwrap().starts_with("docs/page.css\""));
    assert!(loaded.next().is_none());
    let style = anybody.get("/control/v1/docs/page.css").await;
    style.is(200);
    assert_eq!(style.header("content-type"), Some("text/css; charset=utf-8"));
    let style = String::from_utf8(style.body.to_vec()).unwrap();
    assert!(!style.contains("url(") && !style.contains("@import"));
}

#[tokio::test]
async fn its_anchors_lead_somewhere() {
    let app = TestApp::new().await;
    let page = String::from_utf8(app.anonymous().get(PATH).await.body.to_vec()).unwrap();
    let anchors: Vec<&str> =
        page.split("href=\"#").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(anchors.len() > 50);
    for anchor in anchors {
        assert!(page.contains(&format!("id=\"{anchor}\"")), "#{anchor} leads nowhere");
    }
}
