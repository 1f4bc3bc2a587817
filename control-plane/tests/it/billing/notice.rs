//! Who is told of an invoice, and what comes with it.

use authsome_control_plane::actor::Role;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::subscriber;
use crate::support::{TestApp, text};

/// The addresses of mails about something, sorted.
fn told(mails: &[String], subject: &str) -> Vec<String> {
    let about = mails.iter().filter(|mail| mail.contains(&format!("Subject: {subject}")));
    let mut to: Vec<String> = about
        .map(|mail| {
            let line = mail.lines().find_map(|line| line.strip_prefix("To: ")).unwrap();
            line.to_owned()
        })
        .collect();
    to.sort();
    to
}

#[tokio::test]
async fn those_who_look_after_the_bill_and_its_address_get_the_invoice() {
    let app = TestApp::new().await;
    let (owner, workspace) = subscriber(&app, "pro").await;
    for (name, role) in [
        ("admin", Role::Admin),
        ("developer", Role::Developer),
        ("accountant", Role::Billing),
        ("viewer", Role::Viewer),
    ] {
        let member = app.sign_up(name).await;
        app.add_member(workspace.as_str(), &member, role).await;
    }
    let details = format!("/control/v1/workspaces/{workspace}/billing-details");
    owner.put(&details, json!({ "email": "Accounts@Acme.example" })).await.is(200);
    app.end_month().await;
    app.run_due().await;
    let mails = app.mails();
    let subject = "Invoice INV-000001 for March 2026";
    assert_eq!(
        told(&mails, subject),
        [
            "accountant@example.com",
            "accounts@acme.example",
            "admin@example.com",
            "owner@example.com"
        ],
        "{mails:?}"
    );
    let mail = mails.iter().find(|mail| mail.contains(subject)).unwrap();
    assert!(mail.contains("$25.00 is due on 8 April 2026."), "{mail}");
    assert!(mail.contains(&format!("/workspace/{workspace}/billing")), "{mail}");
    assert!(mail.contains("filename=\"INV-000001.pdf\""), "{mail}");
    let file: String = mail
        .lines()
        .skip_while(|line| !line.starts_with("JVBERi0"))
        .take_while(|line| !line.trim().is_empty() && !line.starts_with("--"))
        .map(str::trim)
        .collect();
    let file = STANDARD.decode(file).unwrap();

    // What is attached is what is downloaded.
    let owner = owner.be_again().await;
    let invoices = format!("/control/v1/workspaces/{workspace}/invoices");
    let id = text(&owner.get(&invoices).await.json(200)["data"][0]["id"]);
    let download = owner.get(&format!("/control/v1/invoices/{id}/download")).await;
    assert!(file == download.body, "the attached PDF is another");
}

#[tokio::test]
async fn a_billing_address_that_is_a_members_gets_one_mail() {
    let app = TestApp::new().await;
    let (owner, workspace) = subscriber(&app, "pro").await;
    let details = format!("/control/v1/workspaces/{workspace}/billing-details");
    owner.put(&details, json!({ "email": "OWNER@example.com" })).await.is(200);
    app.end_month().await;
    app.run_due().await;
    assert_eq!(told(&app.mails(), "Invoice INV-000001"), ["owner@example.com"]);
}
