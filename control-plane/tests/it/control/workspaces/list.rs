use authsome_control_plane::actor::Role;
use serde_json::json;

use crate::support::{TestApp, fields};

const PATH: &str = "/control/v1/workspaces";

#[tokio::test]
async fn a_member_lists_its_workspaces_with_its_roles() {
    let app = TestApp::new().await;
    let (owner, member) = (app.sign_up("owner").await, app.sign_up("member").await);
    let shared = owner.workspace("pro").await;
    owner.workspace("free").await;
    let own = member.workspace("free").await;
    app.add_member(&shared, &member, Role::Billing).await;

    let list = member.get(PATH).await.json(200);
    assert_eq!(fields(&list), ["data", "page", "pageSize", "total"]);
    assert_eq!(
        (&list["total"], &list["page"], &list["pageSize"]),
        (&json!(2), &json!(1), &json!(20))
    );
    let data = list["data"].as_array().unwrap();
    let rows: Vec<_> = data.iter().map(|w| (w["id"].as_str(), w["role"].as_str())).collect();
    assert_eq!(rows, [(Some(&*shared), Some("billing")), (Some(&*own), Some("owner"))]);
    assert_eq!(data[0]["ownerId"], owner.id());

    owner.delete(&format!("{PATH}/{shared}")).await.is(204);
    assert_eq!(member.get(PATH).await.json(200)["total"], 1);
}

#[tokio::test]
async fn pages_follow_one_another() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let mut made = vec![];
    for _ in 0..5 {
        made.push(owner.workspace("free").await);
    }
    let mut seen = vec![];
    for page in 1..=4 {
        let answer = owner.get(&format!("{PATH}?page={page}&pageSize=2")).await.json(200);
        assert_eq!((&answer["total"], &answer["page"]), (&json!(5), &json!(page)));
        assert_eq!(answer["pageSize"], 2);
        let data = answer["data"].as_array().unwrap().clone();
        seen.extend(data.iter().map(|w| w["id"].as_str().unwrap().to_owned()));
    }
    assert_eq!(seen, made);
    assert_eq!(owner.get(&format!("{PATH}?pageSize=1000")).await.json(200)["pageSize"], 100);
    owner.get(&format!("{PATH}?page=two")).await.assert_invalid("page");
    owner.get(&format!("{PATH}?pageSize=-1")).await.assert_invalid("pageSize");
    owner.get(&format!("{PATH}?page=99999999999")).await.assert_invalid("page");
    owner.get(&format!("{PATH}?page=%00")).await.assert_invalid("page");
    owner.get(&format!("{PATH}?page=1&page=2")).await.assert_invalid("page");
    let far = owner.get(&format!("{PATH}?page=4294967295&pageSize=100")).await.json(200);
    assert_eq!((&far["total"], &far["data"]), (&json!(5), &json!([])));
    let first = owner.get(&format!("{PATH}?page=0&pageSize=0")).await.json(200);
    assert_eq!((&first["page"], &first["pageSize"]), (&json!(1), &json!(1)));
}
