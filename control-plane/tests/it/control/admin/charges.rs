use serde_json::json;

use crate::support::{TestApp, text};

#[tokio::test]
async fn a_charge_is_on_the_next_invoice() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let admin = app.sign_up_admin("admin").await;
    let owner = app.sign_up("owner").await;
    let workspace = owner.workspace("free").await;
    let path = format!("/control/v1/admin/workspaces/{workspace}/charges");
    assert_eq!(admin.get(&path).await.json(200), json!({ "data": [], "total": 0 }));
    let body = json!({ "amount": 300.5, "description": " Help with the move " });
    let charge = admin.post(&path, body).await.json(201);
    assert_eq!(charge["amount"], 300.5);
    assert_eq!(charge["description"], "Help with the move");
    let mistake = json!({ "amount": 7, "description": "A mistake" });
    let mistake = text(&admin.post(&path, mistake).await.json(201)["id"]);
    admin.delete(&format!("{path}/{mistake}")).await.is(204);
    admin.delete(&format!("{path}/{mistake}")).await.error(404, "not_found");
    let list = admin.get(&path).await.json(200);
    assert_eq!((&list["total"], &list["data"][0]), (&json!(1), &charge));

    app.end_month().await;
    let (admin, owner) = (admin.be_again().await, owner.be_again().await);
    let invoices = format!("/control/v1/workspaces/{workspace}/invoices");
    let list = owner.get(&invoices).await.json(200);
    let id = text(&list["data"][0]["id"]);
    let invoice = owner.get(&format!("{invoices}/{id}")).await.json(200);
    assert_eq!(
        (&invoice["amount"], &invoice["lines"][0]["kind"]),
        (&json!(300.5), &json!("adjustment"))
    );
    assert_eq!(invoice["lines"][0]["description"], "Help with the move");
    // On an invoice, it is waiting no more.
    assert_eq!(admin.get(&path).await.json(200)["total"], 0);
    admin.delete(&format!("{path}/{}", text(&charge["id"]))).await.error(404, "not_found");
}

#[tokio::test]
async fn what_is_no_amount_is_refused() {
    let app = TestApp::new().await;
    let admin = app.sign_up_admin("admin").await;
    let owner = app.sign_up("owner").await;
    let workspace = owner.workspace("pro").await;
    let path = format!("/control/v1/admin/workspaces/{workspace}/charges");
    for amount in [json!(0), json!(-5), json!(0.005), json!(1e18), json!("5"), json!(null)] {
        let body = json!({ "amount": amount, "description": "Help" });
        admin.post(&path, body).await.assert_invalid("amount");
    }
    for description in ["", " ", "a\u{0}b"] {
        let body = json!({ "amount": 5, "description": description });
        admin.post(&path, body).await.assert_invalid("description");
    }
    let body = json!({ "amount": 5, "description": "Help" });
    let nowhere = "/control/v1/admin/workspaces/ws_none/charges";
    admin.post(nowhere, body).await.error(404, "not_found");
    // Another workspace's charge is none of this one's.
    let other = owner.workspace("pro").await;
    let foreign = app.charge(&other).await;
    admin.delete(&format!("{path}/{foreign}")).await.error(404, "not_found");
}
