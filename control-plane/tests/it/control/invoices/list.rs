use serde_json::json;

use crate::support::{TestApp, fields, last_month, text};

#[tokio::test]
async fn a_workspace_without_invoices_has_an_empty_list() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let workspace = owner.workspace("free").await;
    let path = format!("/control/v1/workspaces/{workspace}/invoices");
    let empty = json!({ "data": [], "total": 0, "page": 1, "pageSize": 20 });
    assert_eq!(owner.get(&path).await.json(200), empty);
}

#[tokio::test]
async fn the_newest_month_comes_first_and_filters_narrow() {
    let app = TestApp::with(|config| {
        config.server.public_url = "https://api.example.com/".into();
    })
    .await;
    app.leave_jobs();
    let owner = app.sign_up("owner").await;
    let admin = app.sign_up_admin("admin").await;
    let workspace = owner.workspace("pro").await;
    let other = owner.workspace("pro").await;
    app.issue(&other).await;
    for period in ["2025-11", "2026-01", "2025-12"] {
        let invoice = app.issue_for(&workspace, period, "USD", 4_750).await;
        if period == "2025-12" {
            let pay = format!("/control/v1/admin/invoices/{}/pay", invoice.id);
            admin.post(&pay, json!({})).await.is(200);
        }
    }
    let path = format!("/control/v1/workspaces/{workspace}/invoices");
    let periods = async |query: &str| {
        let list = owner.get(&format!("{path}{query}")).await.json(200);
        let data = list["data"].as_array().unwrap().clone();
        let periods: Vec<String> = data.iter().map(|invoice| text(&invoice["period"])).collect();
        (periods.join(" "), list["total"].as_i64().unwrap())
    };
    assert_eq!(periods("").await, ("2026-01 2025-12 2025-11".into(), 3));
    assert_eq!(periods("?status=paid").await, ("2025-12".into(), 1));
    assert_eq!(periods("?status=draft").await, (String::new(), 0));
    assert_eq!(periods("?period=2025-11").await, ("2025-11".into(), 1));
    assert_eq!(periods("?period=2025-11&status=paid").await, (String::new(), 0));
    assert_eq!(periods("?page=2&pageSize=2").await, ("2025-11".into(), 3));
    assert_eq!(periods("?page=9").await, (String::new(), 3));
    owner.get(&format!("{path}?period=2025")).await.assert_invalid("period");
    owner.get(&format!("{path}?status=lost")).await.assert_invalid("status");

    let list = owner.get(&path).await.json(200);
    let (open, paid) = (&list["data"][0], &list["data"][1]);
    let id = text(&open["id"]);
    assert_eq!(
        *open,
        json!({
            "id": id, "workspaceId": workspace, "number": format!("TEST-{id}"),
            "period": "2026-01", "status": "pending", "currency": "USD", "amount": 47.5,
            "subtotal": 47.5, "discount": 0.0, "tax": 0.0, "balanceApplied": 0.0,
            "credited": 0.0, "amountDue": 47.5, "collector": "manual", "pastDue": false,
            "issuedAt": app.now(), "dueAt": "2026-03-17T12:00:00Z", "paidAt": null,
            "voidedAt": null, "createdAt": app.now(),
            "downloadUrl": format!("https://api.example.com/control/v1/invoices/{id}/download"),
        })
    );
    assert_eq!((&paid["status"], &paid["paidAt"]), (&json!("paid"), &json!(app.now())));
    assert_eq!(fields(open), fields(paid));
}

#[tokio::test]
async fn amounts_have_the_decimals_of_their_currency() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    for (currency, amount) in [("JPY", json!(1_234_567.0)), ("KWD", json!(1_234.567))] {
        let workspace = owner.workspace("pro").await;
        app.issue_for(&workspace, &last_month(&app), currency, 1_234_567).await;
        let path = format!("/control/v1/workspaces/{workspace}/invoices");
        let invoice = owner.get(&path).await.json(200)["data"][0].clone();
        assert_eq!((&invoice["currency"], &invoice["amount"]), (&json!(currency), &amount));
    }
}

#[tokio::test]
async fn an_unpaid_invoice_is_past_due_after_its_day() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let workspace = owner.workspace("pro").await;
    app.issue(&workspace).await;
    app.advance(chrono::TimeDelta::days(8));
    let owner = owner.be_again().await;
    let path = format!("/control/v1/workspaces/{workspace}/invoices");
    assert_eq!(owner.get(&path).await.json(200)["data"][0]["pastDue"], true);
}
