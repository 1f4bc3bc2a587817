//! Wrong input: a clear word that names what is wrong.

use authsome_e2e::api::{Api, PASSWORD, http_client};
use authsome_e2e::platform::Platform;
use http::Method;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_body_is_answered_with_the_fields_name() {
    let platform = Platform::start().await;
    let api = Api::anonymous(&platform.urls);
    let path = "/control/v1/auth/register";
    let valid = json!({ "email": "a@example.com", "password": PASSWORD, "name": "A" });
    let with = |field: &str, value: Value| {
        let mut body = valid.clone();
        body[field] = value;
        body.to_string()
    };
    let without = json!({ "password": PASSWORD, "name": "A" }).to_string();
    let cases = [
        ("{\"email\": \"a@exa", None),
        ("", None),
        ("[]", None),
        (&*with("name", json!(5)), Some("name")),
        (&*with("email", json!("not an address")), Some("email")),
        (&*with("password", json!("short")), Some("password")),
        (&*with("colour", json!("red")), Some("colour")),
        (&*with("name", json!("")), Some("name")),
        (&*with("name", json!("x".repeat(201))), Some("name")),
        (&*without, Some("email")),
    ];
    for (body, field) in cases {
        let answer = api.send(Method::POST, path, Some(body.to_owned())).await;
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
        assert_eq!(answer.code(), "invalid_request", "{body}");
        assert!(answer.text("/error/requestId").starts_with("req_"), "{body}: {answer:?}");
        if let Some(field) = field {
            assert_eq!(answer.body["error"]["details"]["field"], field, "{body}: {answer:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversize_a_foreign_and_a_misdirected_body_get_their_own_codes() {
    let platform = Platform::start().await;
    let api = Api::anonymous(&platform.urls);
    let path = "/control/v1/auth/register";

    let oversize = json!({ "email": "x".repeat(2 * 1024 * 1024) }).to_string();
    let answer = api.send(Method::POST, path, Some(oversize)).await.expect(413);
    assert_eq!(answer.code(), "payload_too_large");
    let form = http_client()
        .post(platform.urls.control() + path)
        .header("content-type", "application/x-www-form-urlencoded")
        .body("email=a@example.com");
    assert_eq!(form.send().await.expect("an answer").status(), 415);
    assert_eq!(api.delete(path).await.expect(405).code(), "method_not_allowed");
    assert_eq!(api.get("/control/v1/nothing").await.expect(404).code(), "not_found");
    assert_eq!(api.get("/control/v1/workspaces").await.expect(401).code(), "unauthorized");
}
