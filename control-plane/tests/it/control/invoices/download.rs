use axum::body::Body;
use axum::http::{Method, header};
use serde_json::json;

use crate::support::{Client, Response, TestApp};

async fn accepting(client: &Client, path: &str, accept: &str) -> Response {
    let request = client.request(Method::GET, path).header(header::ACCEPT, accept);
    client.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn an_invoice_is_a_pdf_unless_html_is_asked_for() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let workspace = owner.workspace("pro").await;
    let invoice = app.issue(&workspace).await;
    let path = format!("/control/v1/invoices/{}/download", invoice.id);

    let pdf = owner.get(&path).await;
    pdf.is(200);
    assert_eq!(pdf.header("content-type"), Some("application/pdf"));
    let number = invoice.number.unwrap().replace('_', "-");
    let expected = format!("attachment; filename=\"{number}.pdf\"");
    assert_eq!(pdf.header("content-disposition"), Some(expected.as_str()));
    assert_eq!(pdf.header("cache-control"), Some("private, no-cache"));
    assert!(pdf.body.starts_with(b"%PDF-1.7") && pdf.body.ends_with(b"%%EOF"));
    assert_eq!(pdf.body, owner.get(&path).await.body, "the same invoice is the same file");
    for accept in ["*/*", "application/pdf", "text/html,application/xhtml+xml,*/*;q=0.8"] {
        assert_eq!(accepting(&owner, &path, accept).await.body, pdf.body, "{accept}");
    }

    let page = owner.get(&format!("{path}?format=html")).await;
    page.is(200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    let expected = format!("inline; filename=\"{number}.html\"");
    assert_eq!(page.header("content-disposition"), Some(expected.as_str()));
    assert_eq!(accepting(&owner, &path, "text/html").await.body, page.body);
    let asked = accepting(&owner, &format!("{path}?format=pdf"), "text/html").await;
    assert_eq!(asked.body, pdf.body);
    owner.get(&format!("{path}?format=docx")).await.assert_invalid("format");
    owner.get("/control/v1/invoices/inv_none/download").await.error(404, "not_found");
}

#[tokio::test]
async fn a_paid_void_or_late_invoice_is_stamped() {
    let app = TestApp::with(|config| {
        config.billing.payment_instructions = "IBAN DE89 3704 0044".into();
        config.documents.footer = "Register court Berlin <HRB 1>".into();
    })
    .await;
    app.leave_jobs();
    let owner = app.sign_up("owner").await;
    let admin = app.sign_up_admin("admin").await;
    let workspace = owner.workspace("pro").await;
    let mut ids = vec![];
    for period in ["2025-10", "2025-11", "2025-12"] {
        ids.push(app.issue_for(&workspace, period, "USD", 2_500).await.id);
    }
    let page = async |client: &Client, n: usize| {
        let path = format!("/control/v1/invoices/{}/download?format=html", ids[n]);
        String::from_utf8(client.get(&path).await.body.to_vec()).unwrap()
    };
    let fresh = page(&owner, 0).await;
    assert!(!fresh.contains("class=\"stamp"), "{fresh}");
    assert!(fresh.contains("IBAN DE89 3704 0044"));
    assert!(fresh.contains("Register court Berlin &lt;HRB 1&gt;"));

    let settle = async |n: usize, what: &str, body| {
        admin.post(&format!("/control/v1/admin/invoices/{}/{what}", ids[n]), body).await.is(200);
    };
    settle(0, "pay", json!({ "reference": "Statement 7" })).await;
    settle(1, "void", json!({ "reason": "Twice" })).await;
    let paid = page(&owner, 0).await;
    assert!(paid.contains(">Paid</span>") && paid.contains("$25.00 paid 10 March 2026"), "{paid}");
    assert!(!paid.contains("IBAN"), "nothing is left to pay");
    let void = page(&owner, 1).await;
    assert!(void.contains(">Void</span>") && void.contains("Twice"), "{void}");
    app.advance(chrono::TimeDelta::days(8));
    let owner = owner.be_again().await;
    let late = page(&owner, 2).await;
    assert!(late.contains(">Past due</span>"), "{late}");
}

#[tokio::test]
async fn names_are_no_markup() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let body = json!({ "name": "<script>alert(1)</script> & \"Söhne\"", "plan": "pro" });
    let made = owner.post("/control/v1/workspaces", body).await.json(201);
    let invoice = app.issue(made["id"].as_str().unwrap()).await;
    let path = format!("/control/v1/invoices/{}/download", invoice.id);
    let page = owner.get(&format!("{path}?format=html")).await;
    let page = String::from_utf8(page.body.to_vec()).unwrap();
    assert!(!page.contains("<script"), "{page}");
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;Söhne&quot;"));
    owner.get(&path).await.is(200);
}
