//! `/control/v1/workspaces/{workspaceId}/billing-details`.

use serde_json::{Value, json};

use crate::support::TestApp;

fn details() -> Value {
    json!({
        "name": " Acme GmbH ", "email": "Accounts@Acme.Example", "taxId": "DE123456789",
        "address": {
            "line1": "Hauptstraße 1", "line2": " ", "postalCode": "10827", "city": "Berlin",
            "country": "de",
        },
    })
}

#[tokio::test]
async fn details_are_replaced_as_a_whole() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let workspace = owner.workspace("pro").await;
    let path = format!("/control/v1/workspaces/{workspace}/billing-details");
    let nothing = json!({
        "name": null, "email": null, "taxId": null, "taxExempt": "none",
        "address": {
            "line1": null, "line2": null, "postalCode": null, "city": null, "state": null,
            "country": null,
        },
    });
    assert_eq!(owner.get(&path).await.json(200), nothing);
    let expected = json!({
        "name": "Acme GmbH", "email": "accounts@acme.example", "taxId": "DE123456789",
        "taxExempt": "none",
        "address": {
            "line1": "Hauptstraße 1", "line2": null, "postalCode": "10827", "city": "Berlin",
            "state": null, "country": "DE",
        },
    });
    assert_eq!(owner.put(&path, details()).await.json(200), expected);
    assert_eq!(owner.get(&path).await.json(200), expected);
    assert_eq!(owner.put(&path, json!({ "name": null })).await.json(200), nothing);
    let audit = format!("/control/v1/workspaces/{workspace}/audit");
    let entry = owner.get(&audit).await.json(200)["data"][0].clone();
    assert_eq!(entry["action"], "billing_details.replaced");
    assert_eq!(
        (&entry["before"]["name"], &entry["after"]["name"]),
        (&json!("Acme GmbH"), &json!(null))
    );
}

#[tokio::test]
async fn what_is_no_address_is_refused_and_changes_nothing() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let workspace = owner.workspace("pro").await;
    let path = format!("/control/v1/workspaces/{workspace}/billing-details");
    let before = owner.put(&path, details()).await.json(200);
    for (body, field) in [
        (json!({ "email": "nobody" }), "email"),
        (json!({ "email": "" }), "email"),
        (json!({ "address": { "country": "" } }), "address.country"),
        (json!({ "name": "x".repeat(201) }), "name"),
        (json!({ "name": "a\u{0}b" }), "name"),
        (json!({ "taxId": "x".repeat(51) }), "taxId"),
        (json!({ "address": { "country": "Germany" } }), "address.country"),
        (json!({ "address": { "country": "XX" } }), "address.country"),
        (json!({ "address": { "postalCode": "1\n2" } }), "address.postalCode"),
        (json!({ "address": { "line1": "x".repeat(201) } }), "address.line1"),
        (json!({ "address": { "street": "x" } }), "address.street"),
        (json!({ "address": { "city": 7 } }), "address.city"),
        (json!({ "address": [] }), "address"),
        (json!({ "address": "Berlin" }), "address"),
        (json!({ "taxExempt": "exempt" }), "taxExempt"),
    ] {
        owner.put(&path, body).await.assert_invalid(field);
    }
    assert_eq!(owner.get(&path).await.json(200), before);
}

#[tokio::test]
async fn only_platform_admins_say_who_pays_no_tax() {
    let app = TestApp::with(|config| {
        config.billing.taxes = vec![authsome_control_plane::config::TaxRate {
            name: "VAT".into(),
            percent: "20".into(),
            country: String::new(),
        }];
    })
    .await;
    app.leave_jobs();
    let owner = app.sign_up("owner").await;
    let admin = app.sign_up_admin("admin").await;
    let workspace = owner.workspace("pro").await;
    let path = format!("/control/v1/workspaces/{workspace}");
    let exempt = format!("/control/v1/admin/workspaces/{workspace}/tax-exemption");
    owner.put(&exempt, json!({ "taxExempt": "exempt" })).await.error(403, "forbidden");
    let answer = admin.put(&exempt, json!({ "taxExempt": "reverse" })).await.json(200);
    assert_eq!(answer["taxExempt"], "reverse");
    admin.put(&exempt, json!({ "taxExempt": "maybe" })).await.assert_invalid("taxExempt");
    let nowhere = "/control/v1/admin/workspaces/ws_none/tax-exemption";
    admin.put(nowhere, json!({ "taxExempt": "none" })).await.error(404, "not_found");
    // Members keep what they say, and the exemption stays.
    let kept = owner.put(&format!("{path}/billing-details"), details()).await.json(200);
    assert_eq!(kept["taxExempt"], "reverse");

    app.end_month().await;
    let owner = owner.be_again().await;
    let invoice = owner.get(&format!("{path}/invoices")).await.json(200)["data"][0].clone();
    assert_eq!((&invoice["tax"], &invoice["amount"]), (&json!(0.0), &json!(25.0)));
    let id = invoice["id"].as_str().unwrap();
    let page = owner.get(&format!("/control/v1/invoices/{id}/download?format=html")).await;
    let page = String::from_utf8(page.body.to_vec()).unwrap();
    assert!(page.contains("Reverse charge"), "{page}");
    assert!(page.contains("10827 Berlin<br>Germany<br>accounts@acme.example"), "{page}");
}
