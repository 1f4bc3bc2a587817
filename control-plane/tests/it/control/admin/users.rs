use futures_util::future::join_all;
use serde_json::json;

use crate::support::{PASSWORD, TestApp, fields};

const PATH: &str = "/control/v1/admin/users";

#[tokio::test]
async fn accounts_are_found_by_address_name_and_id() {
    let app = TestApp::new().await;
    let admin = app.sign_up_admin("admin").await;
    let (ada, bob) = (app.sign_up("ada_l").await, app.sign_up("bob").await);
    admin.patch(&format!("{PATH}/{}", bob.id()), json!({ "disabled": true })).await.is(200);
    let found = async |query: &str| {
        let list = admin.get(&format!("{PATH}{query}")).await.json(200);
        let data = list["data"].as_array().unwrap().clone();
        data.iter().map(|user| user["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let all = [admin.id(), ada.id(), bob.id()];
    assert_eq!(found("").await, all);
    assert_eq!(found("?search=").await, all);
    assert_eq!(found("?search=EXAMPLE.com").await, all);
    assert_eq!(found("?search=ADA").await, [ada.id()]);
    assert_eq!(found(&format!("?search={}", bob.id())).await, [bob.id()]);
    assert_eq!(found("?search=_").await, [ada.id()], "a wildcard is itself");
    assert!(found("?search=%25").await.is_empty());
    assert_eq!(found("?disabled=true").await, [bob.id()]);
    assert_eq!(found("?disabled=false&platformAdmin=false").await, [ada.id()]);
    assert_eq!(found("?platformAdmin=true").await, [admin.id()]);
    assert_eq!(found("?page=2&pageSize=2").await, [bob.id()]);
    admin.get(&format!("{PATH}?search=%00")).await.assert_invalid("search");
    admin.get(&format!("{PATH}?search={}", "x".repeat(201))).await.assert_invalid("search");
    admin.get(&format!("{PATH}?disabled=maybe")).await.assert_invalid("disabled");
    let user = admin.get(PATH).await.json(200)["data"][0].clone();
    let names = ["createdAt", "disabled", "disabledAt", "email", "id", "name", "platformAdmin"];
    assert_eq!(fields(&user), names);
}

#[tokio::test]
async fn a_disabled_account_is_out_at_once_and_can_not_sign_in() {
    let app = TestApp::new().await;
    let admin = app.sign_up_admin("admin").await;
    let user = app.sign_up("user").await;
    let path = format!("{PATH}/{}", user.id());
    let answer = admin.patch(&path, json!({ "disabled": true })).await.json(200);
    assert_eq!((&answer["disabled"], &answer["disabledAt"]), (&json!(true), &json!(app.now())));
    user.get("/control/v1/auth/me").await.error(401, "unauthorized");
    let refresh = json!({ "refreshToken": user.refresh_token });
    user.post("/control/v1/auth/refresh", refresh.clone()).await.error(401, "unauthorized");
    let login = |password: &str| json!({ "email": user.email(), "password": password });
    let nobody = app.anonymous();
    let path_login = "/control/v1/auth/login";
    nobody.post(path_login, login(PASSWORD)).await.error(403, "forbidden");
    // Whoever does not know the password learns nothing of it.
    nobody.post(path_login, login("wrong password")).await.error(401, "unauthorized");

    let answer = admin.patch(&path, json!({ "disabled": false })).await.json(200);
    assert_eq!((&answer["disabled"], &answer["disabledAt"]), (&json!(false), &json!(null)));
    nobody.post(path_login, login(PASSWORD)).await.is(200);
    user.get("/control/v1/auth/me").await.error(401, "unauthorized");
    user.post("/control/v1/auth/refresh", refresh).await.error(401, "unauthorized");
}

#[tokio::test]
async fn admins_make_and_unmake_each_other_but_not_themselves() {
    let app = TestApp::new().await;
    let (admin, user) = (app.sign_up_admin("admin").await, app.sign_up("user").await);
    let own = format!("{PATH}/{}", admin.id());
    let other = format!("{PATH}/{}", user.id());
    for body in [json!({ "platformAdmin": false }), json!({ "disabled": true }), json!({})] {
        admin.patch(&own, body).await.error(409, "invalid_state");
    }
    user.get(PATH).await.error(403, "forbidden");
    let answer = admin.patch(&other, json!({ "platformAdmin": true })).await.json(200);
    assert_eq!(answer["platformAdmin"], true);
    user.get(PATH).await.is(200);
    user.patch(&own, json!({ "platformAdmin": false })).await.is(200);
    admin.get(PATH).await.error(403, "forbidden");
    admin.patch(&other, json!({})).await.error(403, "forbidden");
    user.patch(&format!("{PATH}/usr_none"), json!({})).await.error(404, "not_found");
    user.patch(&own, json!({ "email": "x" })).await.assert_invalid("email");
}

#[tokio::test]
async fn of_admins_who_unmake_each_other_at_once_one_stays() {
    let app = TestApp::new().await;
    let (one, two) = (app.sign_up_admin("one").await, app.sign_up_admin("two").await);
    let attempts = (0..20).map(|n| {
        let (caller, other) = if n % 2 == 0 { (&one, &two) } else { (&two, &one) };
        let body =
            if n % 4 < 2 { json!({ "platformAdmin": false }) } else { json!({ "disabled": true }) };
        let path = format!("{PATH}/{}", other.id());
        async move { caller.patch(&path, body).await.status }
    });
    let statuses = join_all(attempts).await;
    assert!(statuses.contains(&200), "{statuses:?}");
    assert!(statuses.iter().all(|status| [200, 401, 403].contains(status)), "{statuses:?}");
    let left = "select count(*) from users where platform_admin and disabled_at is null";
    assert_eq!(app.number(left).await, 1);
}
