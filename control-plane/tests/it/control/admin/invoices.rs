use serde_json::json;

use crate::support::{TestApp, text};

const PATH: &str = "/control/v1/admin/invoices";

#[tokio::test]
async fn invoices_are_found_by_number_workspace_status_and_period() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let admin = app.sign_up_admin("admin").await;
    let owner = app.sign_up("owner").await;
    let (first, second) = (owner.workspace("pro").await, owner.workspace("pro").await);
    let january = app.issue_for(&first, "2026-01", "USD", 100).await;
    let february = app.issue_for(&first, "2026-02", "USD", 100).await;
    let other = app.issue_for(&second, "2026-01", "USD", 100).await;
    admin.post(&format!("{PATH}/{}/pay", other.id), json!({})).await.is(200);
    let found = async |query: &str| {
        let list = admin.get(&format!("{PATH}{query}")).await.json(200);
        let data = list["data"].as_array().unwrap().clone();
        let mut ids: Vec<String> = data.iter().map(|invoice| text(&invoice["id"])).collect();
        ids.sort();
        ids
    };
    let all = [&january, &february, &other].map(|invoice| invoice.id.to_string());
    assert_eq!(found("").await, all);
    let number = january.number.unwrap();
    assert_eq!(found(&format!("?number=%20{number}%20")).await, [january.id.to_string()]);
    assert_eq!(found("?number=INV-1").await, [""; 0]);
    assert_eq!(found(&format!("?workspaceId={second}")).await, [other.id.to_string()]);
    assert_eq!(found("?status=paid").await, [other.id.to_string()]);
    assert_eq!(found("?period=2026-02").await, [february.id.to_string()]);
    assert_eq!(found("?status=pending&period=2026-01").await, [january.id.to_string()]);
    admin.get(&format!("{PATH}?number=%00")).await.assert_invalid("number");
    admin.get(&format!("{PATH}?workspaceId=%00")).await.assert_invalid("workspaceId");
    admin.get(&format!("{PATH}?period=now")).await.assert_invalid("period");

    let one = admin.get(&format!("{PATH}/{}", january.id)).await.json(200);
    assert_eq!((&one["id"], &one["lines"][0]["amount"]), (&json!(january.id), &json!(1.0)));
    let pdf = admin.get(&format!("{PATH}/{}/download", january.id)).await;
    assert_eq!(pdf.header("content-type"), Some("application/pdf"));
    admin.get(&format!("{PATH}/inv_none")).await.error(404, "not_found");
    // Being an admin opens no workspace.
    let own = format!("/control/v1/invoices/{}/download", january.id);
    admin.get(&own).await.error(404, "not_found");
}

#[tokio::test]
async fn an_invoice_is_paid_by_hand_once_and_the_log_says_how() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let admin = app.sign_up_admin("admin").await;
    let owner = app.sign_up("owner").await;
    let workspace = owner.workspace("pro").await;
    let id = app.issue(&workspace).await.id;
    let pay = format!("{PATH}/{id}/pay");
    let too_long = json!({ "reference": "x".repeat(201) });
    admin.post(&pay, too_long).await.assert_invalid("reference");
    let paid = admin.post(&pay, json!({ "reference": "Statement 7" })).await.json(200);
    assert_eq!((&paid["status"], &paid["paidAt"]), (&json!("paid"), &json!(app.now())));
    app.advance(chrono::TimeDelta::minutes(1));
    let again = admin.post(&pay, json!({})).await.json(200);
    assert_eq!(again["paidAt"], paid["paidAt"], "paid stays as it was");
    let log = owner.get(&format!("/control/v1/workspaces/{workspace}/audit")).await.json(200);
    let entries = log["data"].as_array().unwrap();
    let paid: Vec<_> = entries.iter().filter(|entry| entry["action"] == "invoice.paid").collect();
    assert_eq!(paid.len(), 1, "{entries:?}");
    assert_eq!(paid[0]["after"]["reference"], "Statement 7");
    assert_eq!(paid[0]["actor"]["email"], "admin@example.com");
    let void = json!({ "reason": "Wrong" });
    admin.post(&format!("{PATH}/{id}/void"), void).await.error(409, "invalid_state");
}

#[tokio::test]
async fn a_void_invoice_can_be_neither_paid_nor_credited() {
    let app = TestApp::new().await;
    let admin = app.sign_up_admin("admin").await;
    let owner = app.sign_up("owner").await;
    let workspace = owner.workspace("pro").await;
    let id = app.issue(&workspace).await.id;
    let void = format!("{PATH}/{id}/void");
    admin.post(&void, json!({})).await.assert_invalid("reason");
    admin.post(&void, json!({ "reason": " " })).await.assert_invalid("reason");
    admin.post(&void, json!({ "reason": "a\u{0}b" })).await.assert_invalid("reason");
    let answer = admin.post(&void, json!({ "reason": "Twice" })).await.json(200);
    assert_eq!((&answer["status"], &answer["failure"]), (&json!("void"), &json!("Twice")));
    admin.post(&format!("{PATH}/{id}/pay"), json!({})).await.error(409, "invalid_state");
    let credit = json!({ "reason": "Twice" });
    admin.post(&format!("{PATH}/{id}/credit-notes"), credit).await.error(409, "invalid_state");
}

#[tokio::test]
async fn credits_never_come_to_more_than_the_invoice() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let admin = app.sign_up_admin("admin").await;
    let owner = app.sign_up("owner").await;
    let workspace = owner.workspace("pro").await;
    let id = app.issue(&workspace).await.id;
    let path = format!("{PATH}/{id}/credit-notes");
    for amount in [json!(0), json!(-1), json!(0.001), json!(25.01), json!(1e300)] {
        let body = json!({ "amount": amount, "reason": "An outage" });
        admin.post(&path, body).await.assert_invalid("amount");
    }
    admin.post(&path, json!({ "amount": "12", "reason": "x" })).await.assert_invalid("amount");
    admin.post(&path, json!({ "amount": 1 })).await.assert_invalid("reason");
    let body = json!({ "amount": 10.1, "reason": "An outage" });
    let note = admin.post(&path, body).await.json(201);
    assert_eq!((&note["amount"], &note["number"]), (&json!(10.1), &json!("CN-000001")));
    // Without an amount: what is left, which pays it.
    let rest = admin.post(&path, json!({ "reason": "Good will" })).await.json(201);
    assert_eq!(rest["amount"], 14.9);
    let invoice = admin.get(&format!("{PATH}/{id}")).await.json(200);
    assert_eq!((&invoice["status"], &invoice["amountDue"]), (&json!("paid"), &json!(0.0)));
    admin.post(&path, json!({ "reason": "More" })).await.assert_invalid("amount");
}
