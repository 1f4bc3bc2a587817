use authsome_control_plane::billing::money::MICROS;
use authsome_control_plane::execute;
use serde_json::{Value, json};

use crate::support::{TestApp, text};

/// 150,000 users in March, on pro.
async fn worked_month(app: &TestApp, workspace: &str) {
    let mut tx = app.write().await;
    let insert = "insert into usage_active_users (workspace_id, period, users) values ($1, $2, $3)";
    execute!(tx, sqlx::query(insert).bind(workspace).bind("2026-03").bind(150_000_i64)).unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_month_is_invoiced_line_by_line() {
    assert_eq!(MICROS, 1_000_000);
    let app = TestApp::with(|config| {
        config.billing.taxes = vec![authsome_control_plane::config::TaxRate {
            name: "VAT".into(),
            percent: "19".into(),
            country: "DE".into(),
        }];
        config.billing.issuer.country = "DE".into();
    })
    .await;
    app.leave_jobs();
    let owner = app.sign_up("owner").await;
    let workspace = owner.workspace("pro").await;
    let details = json!({ "name": "Acme GmbH", "address": { "country": "de" } });
    let path = format!("/control/v1/workspaces/{workspace}");
    owner.put(&format!("{path}/billing-details"), details).await.is(200);
    worked_month(&app, &workspace).await;
    app.end_month().await;
    let owner = owner.be_again().await;

    let list = owner.get(&format!("{path}/invoices")).await.json(200);
    assert_eq!(list["total"], 1, "{list}");
    let id = text(&list["data"][0]["id"]);
    let invoice = owner.get(&format!("{path}/invoices/{id}")).await.json(200);
    let figures: Vec<(Value, Value, Value, Value)> = invoice["lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| {
            let of = |name: &str| line[name].clone();
            (of("description"), of("quantity"), of("unitPrice"), of("amount"))
        })
        .collect();
    let users = json!("Monthly active users");
    assert_eq!(
        figures,
        [
            (json!("Pro plan"), json!(null), json!(null), json!(25.0)),
            (json!("Monthly active users, included"), json!(10_000.0), json!(0.0), json!(0.0)),
            (users.clone(), json!(90_000.0), json!(0.02), json!(1_800.0)),
            (users, json!(50_000.0), json!(0.015), json!(750.0)),
            (json!("VAT 19 %"), json!(null), json!(null), json!(489.25)),
        ]
    );
    assert_eq!(invoice["subtotal"], 2_575.0);
    assert_eq!((&invoice["tax"], &invoice["amount"]), (&json!(489.25), &json!(3_064.25)));
    assert_eq!(invoice["lines"][4]["percent"], 19.0);
    assert_eq!(invoice["customer"]["name"], "Acme GmbH");
    assert_eq!(invoice["customer"]["email"], "owner@example.com");
    assert_eq!(invoice["customer"]["address"]["country"], "DE");
    assert_eq!(invoice["number"], "INV-000001");
    assert_eq!((&invoice["taxExempt"], &invoice["creditNotes"]), (&json!("none"), &json!([])));

    let html = format!("/control/v1/invoices/{id}/download?format=html");
    let page = String::from_utf8(owner.get(&html).await.body.to_vec()).unwrap();
    for text in [
        "INV-000001",
        "Acme GmbH",
        "March 2026",
        "1 April 2026",
        "8 April 2026",
        "$3,064.25 due 8 April 2026",
        "90,000",
        "$0.02",
        "$1,800.00",
        "50,000",
        "$0.015",
        "$750.00",
        "$25.00",
        "$2,575.00",
        "VAT 19 %",
        "$489.25",
        "$3,064.25",
    ] {
        assert!(page.contains(text), "{text} is not in {page}");
    }
}

#[tokio::test]
async fn credit_notes_stand_with_their_invoice() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let workspace = owner.workspace("pro").await;
    let id = app.issue(&workspace).await.id;
    let note = app.credit(&id, 250).await;
    let path = format!("/control/v1/workspaces/{workspace}/invoices/{id}");
    let invoice = owner.get(&path).await.json(200);
    assert_eq!((&invoice["credited"], &invoice["amountDue"]), (&json!(2.5), &json!(22.5)));
    assert_eq!(invoice["creditNotes"][0]["number"], note.number);
}

#[tokio::test]
async fn an_invoice_of_another_workspace_is_404() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let (mine, other) = (owner.workspace("pro").await, owner.workspace("pro").await);
    let id = app.issue(&other).await.id;
    for (workspace, invoice) in [(&mine, id.as_str()), (&other, "inv_none"), (&other, "nothing")] {
        let path = format!("/control/v1/workspaces/{workspace}/invoices/{invoice}");
        owner.get(&path).await.error(404, "not_found");
    }
    owner.get(&format!("/control/v1/workspaces/{other}/invoices/{id}")).await.is(200);
}
