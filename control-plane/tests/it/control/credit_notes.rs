//! `/control/v1/…/credit-notes` and `…/balance`.

use serde_json::json;

use crate::support::{TestApp, text};

#[tokio::test]
async fn credit_notes_are_listed_newest_first_and_downloaded() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let owner = app.sign_up("owner").await;
    let workspace = owner.workspace("pro").await;
    let path = format!("/control/v1/workspaces/{workspace}/credit-notes");
    let empty = json!({ "data": [], "total": 0, "page": 1, "pageSize": 20 });
    assert_eq!(owner.get(&path).await.json(200), empty);

    let invoice = app.issue(&workspace).await;
    let first = app.credit(&invoice.id, 500).await;
    app.advance(chrono::TimeDelta::seconds(1));
    let second = app.credit(&invoice.id, 250).await;
    let list = owner.get(&path).await.json(200);
    assert_eq!((&list["total"], &list["data"][1]["id"]), (&json!(2), &json!(first.id)));
    let note = &list["data"][0];
    let url = text(&note["downloadUrl"]);
    assert!(url.ends_with(&format!("/control/v1/credit-notes/{}/download", second.id)), "{url}");
    assert_eq!((&note["amount"], &note["toBalance"]), (&json!(2.5), &json!(0.0)));
    assert_eq!(note["number"], "CN-000002");
    let page = owner.get(&format!("{path}?page=2&pageSize=1")).await.json(200);
    assert_eq!(page["data"][0]["id"], json!(first.id));

    let path = format!("/control/v1/credit-notes/{}/download", second.id);
    let pdf = owner.get(&path).await;
    assert_eq!(pdf.header("content-type"), Some("application/pdf"));
    let name = Some("attachment; filename=\"CN-000002.pdf\"");
    assert_eq!(pdf.header("content-disposition"), name);
    let page = owner.get(&format!("{path}?format=html")).await;
    let page = String::from_utf8(page.body.to_vec()).unwrap();
    for text in ["Credit note", "CN-000002", "$2.50", "An outage", &invoice.number.unwrap()] {
        assert!(page.contains(text), "{text} is not in {page}");
    }
    owner.get("/control/v1/credit-notes/crn_none/download").await.error(404, "not_found");
}

#[tokio::test]
async fn what_is_credited_of_a_paid_invoice_pays_the_next_one() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let owner = app.sign_up("owner").await;
    let admin = app.sign_up_admin("admin").await;
    let workspace = owner.workspace("pro").await;
    let path = format!("/control/v1/workspaces/{workspace}");
    let balance = owner.get(&format!("{path}/balance")).await.json(200);
    let empty = json!({
        "currency": "USD", "balance": 0.0, "data": [], "total": 0, "page": 1, "pageSize": 20,
    });
    assert_eq!(balance, empty);

    let id = app.issue(&workspace).await.id;
    admin.post(&format!("/control/v1/admin/invoices/{id}/pay"), json!({})).await.is(200);
    let note = app.credit(&id, 1_000).await;
    let balance = owner.get(&format!("{path}/balance")).await.json(200);
    assert_eq!((&balance["balance"], &balance["total"]), (&json!(10.0), &json!(1)));
    let entry = &balance["data"][0];
    assert_eq!((&entry["amount"], &entry["creditNoteId"]), (&json!(10.0), &json!(note.id)));

    app.end_month().await;
    let owner = owner.be_again().await;
    let invoices = owner.get(&format!("{path}/invoices?period=2026-03")).await.json(200);
    let invoice = &invoices["data"][0];
    assert_eq!((&invoice["amount"], &invoice["amountDue"]), (&json!(25.0), &json!(15.0)));
    assert_eq!(invoice["balanceApplied"], 10.0);
    let balance = owner.get(&format!("{path}/balance")).await.json(200);
    assert_eq!((&balance["balance"], &balance["total"]), (&json!(0.0), &json!(2)));
    let url = format!("/control/v1/invoices/{}/download?format=html", text(&invoice["id"]));
    let page = String::from_utf8(owner.get(&url).await.body.to_vec()).unwrap();
    assert!(page.contains("Paid from your balance") && page.contains("-$10.00"), "{page}");
}
