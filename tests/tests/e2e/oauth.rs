//! Sign-in at identity providers that we did not write, by a browser with cookies, through the real
//! control plane.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use authsome_e2e::api::{Answer, Api};
use authsome_e2e::control_plane::ControlPlane;
use authsome_e2e::identity_provider::{
    ADA, BOB, Browser, CLIENT_ID, CLIENT_SECRET, IdentityProvider, Page, with_parameter,
};
use authsome_e2e::smtp;
use authsome_e2e::split::free_port;
use authsome_e2e::wait;
use http::StatusCode;
use ring::hmac;
use serde_json::{Value, json};

const DASHBOARD: &str = "http://127.0.0.1:9/dashboard";

/// Where a browser begins.
fn start(id: &str) -> String {
    format!("/control/v1/auth/oauth/{id}/start")
}

fn callback(base: &str, id: &str) -> String {
    format!("{base}/control/v1/auth/oauth/{id}/callback")
}

fn settings(providers: &[String]) -> Vec<(String, String)> {
    vec![
        ("PLATFORM__DASHBOARD_URL".into(), DASHBOARD.into()),
        ("IDENTITY__PROVIDERS".into(), format!("[{}]", providers.join(", "))),
        ("IDENTITY__LOGINS_PER_MINUTE".into(), "1000".into()),
    ]
}

fn provider(id: &str, kind: &str, more: &str) -> String {
    format!(
        "{{id={id:?},kind={kind:?},client_id={CLIENT_ID:?},client_secret={CLIENT_SECRET:?}{more}}}"
    )
}

/// A control plane that knows one provider, and a browser.
struct Scene {
    control: ControlPlane,
    provider: IdentityProvider,
    id: &'static str,
    browser: Browser,
}

impl Scene {
    async fn of(kind: &'static str) -> Option<Self> {
        // The provider must know where it sends browsers back to.
        let base = format!("http://127.0.0.1:{}", free_port());
        let provider = match kind {
            "oidc" => IdentityProvider::oidc().await?,
            _ => IdentityProvider::emulated(kind, &callback(&base, kind)).await?,
        };
        let url = &provider.url;
        let more = match kind {
            "github" => format!(
                ",authorization_endpoint=\"{url}/login/oauth/authorize\",\
                 token_endpoint=\"{url}/login/oauth/access_token\",userinfo_endpoint=\"{url}/user\""
            ),
            _ => format!(",issuer=\"{url}\""),
        };
        let settings = settings(&[self::provider(kind, kind, &more)]);
        let control = ControlPlane::start_at(&base, settings).await;
        Some(Self { control, provider, id: kind, browser: Browser::new() })
    }

    /// Departs; the page of the redirect to the provider.
    async fn depart(&mut self) -> Page {
        let page = self.browser.open(&self.control.url(&start(self.id))).await;
        assert_eq!(page.status, StatusCode::FOUND, "{page:?}");
        page
    }

    /// At the provider, as `person`; the redirect back to us, not followed yet.
    async fn consent(&mut self, at: &str, person: &str) -> Page {
        let page = self.browser.open(at).await;
        assert_eq!(page.status, StatusCode::OK, "{page:?}");
        match self.id {
            "oidc" => self.browser.submit(&page, "sub", &[("sub", person)]).await,
            _ => self.browser.submit(&page, person, &[]).await,
        }
    }

    /// All the way to the dashboard's redirect.
    async fn travel(&mut self, person: &str) -> Page {
        let departure = self.depart().await;
        let back = self.consent(&departure.leads_to(), person).await;
        let page = self.browser.open(&back.leads_to()).await;
        assert_eq!(page.status, StatusCode::FOUND, "{page:?}");
        page
    }

    async fn exchange(&self, code: &str) -> Answer {
        let body = json!({ "code": code });
        self.control.anonymous().post("/control/v1/auth/oauth/exchange", body).await
    }

    /// Travels and trades the code.
    async fn sign_in(&mut self, person: &str) -> Answer {
        let page = self.travel(person).await;
        let code = page.carries("code").unwrap_or_else(|| panic!("no code: {page:?}"));
        self.exchange(&code).await
    }
}

async fn me(scene: &Scene, sign_in: &Answer) -> Value {
    let mut api = scene.control.anonymous();
    api.be(sign_in);
    api.get("/control/v1/auth/me").await.expect(200).body
}

/// What holds for each kind of provider.
async fn signs_in_and_out_and_in_again(kind: &'static str, person: &str) {
    let Some(mut scene) = Scene::of(kind).await else { return };
    let listed = scene.control.anonymous().get("/control/v1/auth/providers").await.expect(200);
    assert_eq!(listed.body["data"][0]["id"], kind);
    assert_eq!(listed.text("/data/0/startUrl"), scene.control.url(&start(kind)));

    let page = scene.travel(person).await;
    assert!(page.leads_to().starts_with(&format!("{DASHBOARD}/signed-in?")), "{page:?}");
    assert!(!page.leads_to().contains("eyJ"), "no token in a URL: {page:?}");
    assert!(scene.browser.cookies.keys().all(|(_, name)| !name.contains("authsome")));
    let code = page.carries("code").expect("a code");
    let first = scene.exchange(&code).await.expect(200);
    for field in ["/token", "/refreshToken", "/user/id"] {
        assert!(!first.text(field).is_empty());
    }
    assert_eq!(first.text("/user/email"), ADA);
    let verified = &first.body["user"]["emailVerified"];
    assert_eq!(me(&scene, &first).await["emailVerified"], *verified);
    // Once.
    scene.exchange(&code).await.expect(400);

    scene.control.restart().await;
    let second = scene.sign_in(person).await.expect(200);
    assert_eq!(second.text("/user/id"), first.text("/user/id"), "the same account");
    let mut api = scene.control.anonymous();
    api.be(&second);
    let sessions = api.get("/control/v1/auth/sessions").await.expect(200);
    assert_eq!(sessions.body["total"], 2);
    assert_eq!(sessions.text("/data/0/method"), kind);
    let identities = api.get("/control/v1/auth/identities").await.expect(200);
    assert_eq!(identities.body["total"], 1);
    assert_eq!(identities.body["hasPassword"], false);
    // It is all that opens the account.
    let path = format!("/control/v1/auth/identities/{}", identities.text("/data/0/id"));
    assert_eq!(api.delete(&path).await.expect(409).code(), "last_sign_in_method");
}

#[tokio::test(flavor = "multi_thread")]
async fn google_signs_in() {
    signs_in_and_out_and_in_again("google", ADA).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn github_signs_in() {
    signs_in_and_out_and_in_again("github", "ada").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_oidc_provider_signs_in() {
    signs_in_and_out_and_in_again("oidc", "ada").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_that_was_tampered_with_gives_nothing() {
    let Some(mut scene) = Scene::of("google").await else { return };

    // Another state.
    let departure = scene.depart().await;
    let back = scene.consent(&departure.leads_to(), ADA).await.leads_to();
    let page = scene.browser.open(&with_parameter(&back, "state", Some("guessed"))).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST, "{page:?}");
    let page = scene.browser.open(&with_parameter(&back, "state", None)).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST, "{page:?}");

    // Another browser: whoever is sent somebody else's way back. It spends the state.
    let mut stranger = Browser::new();
    assert_eq!(stranger.open(&back).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(scene.browser.open(&back).await.status, StatusCode::BAD_REQUEST);

    // The same way back twice.
    let departure = scene.depart().await;
    let back = scene.consent(&departure.leads_to(), ADA).await.leads_to();
    let cookies = scene.browser.cookies.clone();
    assert!(scene.browser.open(&back).await.carries("code").is_some());
    scene.browser.cookies = cookies;
    assert_eq!(scene.browser.open(&back).await.status, StatusCode::BAD_REQUEST);

    // A provider's code that was used, under a state of its own.
    let old = reqwest::Url::parse(&back).expect("a URL");
    let old = old.query_pairs().find(|(name, _)| name == "code").expect("a code").1.into_owned();
    let departure = scene.depart().await;
    let back = scene.consent(&departure.leads_to(), ADA).await.leads_to();
    let page = scene.browser.open(&with_parameter(&back, "code", Some(&old))).await;
    assert_eq!(page.carries("error").as_deref(), Some("provider_error"), "{page:?}");

    // Another nonce in the id token, and a challenge that is not ours.
    let other = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    for (name, value) in [("nonce", "another"), ("code_challenge", other)] {
        let departure = scene.depart().await.leads_to();
        let tampered = with_parameter(&departure, name, Some(value));
        let back = scene.consent(&tampered, ADA).await;
        let page = scene.browser.open(&back.leads_to()).await;
        assert_eq!(page.carries("error").as_deref(), Some("provider_error"), "{name}: {page:?}");
        assert_eq!(page.carries("code"), None);
    }

    // A dashboard elsewhere.
    for elsewhere in ["https://evil.example", "//evil.example", "/elsewhere"] {
        let url = with_parameter(&scene.control.url(&start("google")), "redirect", Some(elsewhere));
        assert_eq!(scene.browser.open(&url).await.status, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn declining_leads_back_to_the_dashboard() {
    let Some(mut scene) = Scene::of("oidc").await else { return };
    let departure = scene.depart().await;
    let page = scene.browser.open(&departure.leads_to()).await;
    let back = scene.browser.submit(&page, "sub", &[("action", "deny")]).await;
    // The mock leaves the state out of a refusal.
    let state = departure.carries("state").expect("a state");
    let back = with_parameter(&back.leads_to(), "state", Some(&state));
    let page = scene.browser.open(&back).await;
    assert!(page.leads_to().starts_with(DASHBOARD), "{page:?}");
    assert_eq!(page.carries("error").as_deref(), Some("access_denied"));
    scene.sign_in("ada").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_down_is_said_to_be() {
    let Some(mut scene) = Scene::of("oidc").await else { return };
    let departure = scene.depart().await;
    let back = scene.consent(&departure.leads_to(), "ada").await;
    scene.provider.process.kill_9();
    let page = scene.browser.open(&back.leads_to()).await;
    assert!(page.leads_to().starts_with(DASHBOARD), "{page:?}");
    assert_eq!(page.carries("error").as_deref(), Some("provider_unavailable"));
    // And from the start, by a control plane that has not read its endpoints yet.
    scene.control.restart().await;
    let page = scene.browser.open(&scene.control.url(&start("oidc"))).await;
    assert_eq!(page.carries("error").as_deref(), Some("provider_unavailable"), "{page:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_of_the_same_address_is_not_taken_over_and_can_be_linked() {
    let Some(mut scene) = Scene::of("google").await else { return };
    let anybody = scene.control.anonymous();
    let body = json!({ "email": ADA, "password": "correct horse", "name": "Ada" });
    let registered = anybody.post("/control/v1/auth/register", body).await.expect(201);
    // Nobody has proved yet that the account is Ada's.
    let refused = scene.sign_in(ADA).await.expect(409);
    assert_eq!(refused.code(), "link_required");
    assert!(refused.text("/error/message").contains("Sign in to it and link Google"));

    // Its owner links on purpose.
    let mut ada = scene.control.anonymous();
    ada.be(&registered);
    let link = async |scene: &mut Scene, api: &Api, person: &str| {
        let body = json!({ "provider": "google", "redirect": format!("{DASHBOARD}/settings") });
        let begun = api.post("/control/v1/auth/identities", body).await.expect(200);
        let departure = scene.browser.open(&begun.text("/url")).await;
        // The ticket works once.
        let again = scene.browser.open(&begun.text("/url")).await;
        assert_eq!(again.status, StatusCode::BAD_REQUEST);
        let back = scene.consent(&departure.leads_to(), person).await;
        let page = scene.browser.open(&back.leads_to()).await;
        assert!(page.leads_to().starts_with(&format!("{DASHBOARD}/settings?")), "{page:?}");
        assert_eq!(page.carries("purpose").as_deref(), Some("link"));
        page.carries("code").expect("a code")
    };
    let confirm = "/control/v1/auth/identities/confirm";
    let code = link(&mut scene, &ada, ADA).await;
    // Neither a sign-in, nor anybody else's.
    scene.exchange(&code).await.expect(400);
    let body = json!({ "email": "eve@example.com", "password": "correct horse", "name": "Eve" });
    let mut eve = scene.control.anonymous();
    eve.be(&anybody.post("/control/v1/auth/register", body).await.expect(201));
    eve.post(confirm, json!({ "code": code })).await.expect(400);
    ada.post(confirm, json!({ "code": code })).await.expect(201);
    let signed_in = scene.sign_in(ADA).await.expect(200);
    assert_eq!(signed_in.text("/user/id"), registered.text("/user/id"));

    // What is linked is nobody else's.
    let code = link(&mut scene, &eve, ADA).await;
    assert_eq!(
        eve.post(confirm, json!({ "code": code })).await.expect(409).code(),
        "already_exists"
    );
    // A second identity; either can go while the password stays.
    let code = link(&mut scene, &ada, BOB).await;
    ada.post(confirm, json!({ "code": code })).await.expect(201);
    let listed = ada.get("/control/v1/auth/identities").await.expect(200);
    assert_eq!(listed.body["total"], 2);
    for n in 0..2 {
        let id = listed.text(&format!("/data/{n}/id"));
        ada.delete(&format!("/control/v1/auth/identities/{id}")).await.expect(204);
    }
    assert_eq!(scene.sign_in(ADA).await.expect(409).code(), "link_required");
    let mailed = wait::until("the mails are written", Duration::from_secs(20), async || {
        let mails = scene.control.mails();
        let of = |subject: &str| mails.iter().filter(|mail| mail.contains(subject)).count();
        let told = (of("A new way to sign in"), of("A way to sign in was removed"));
        (told == (2, 2)).then_some(told)
    })
    .await;
    assert_eq!(mailed, (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_both_sides_have_proved_is_linked_by_itself() {
    let Some(mut scene) = Scene::of("oidc").await else { return };
    let anybody = scene.control.anonymous();
    let body = json!({ "email": ADA, "password": "correct horse", "name": "Ada" });
    let registered = anybody.post("/control/v1/auth/register", body).await.expect(201);
    assert_eq!(scene.sign_in("ada").await.expect(409).code(), "link_required");
    let mail = mail_about(&scene, "Verify your e-mail address").await;
    let verify = json!({ "token": smtp::token(&mail) });
    anybody.post("/control/v1/auth/email/verify", verify).await.expect(200);
    let signed_in = scene.sign_in("ada").await.expect(200);
    assert_eq!(signed_in.text("/user/id"), registered.text("/user/id"));
    mail_about(&scene, "A new way to sign in").await;
    // Somebody else there claims the same address, without proof.
    assert_eq!(scene.sign_in("eve").await.expect(409).code(), "link_required");
}

/// Waits for a mail, written as a file.
async fn mail_about(scene: &Scene, subject: &str) -> String {
    wait::until(subject, Duration::from_secs(20), async || {
        scene.control.mails().into_iter().find(|mail| mail.contains(subject))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_factor_is_asked_for_after_a_provider_too() {
    let Some(mut scene) = Scene::of("oidc").await else { return };
    let mut ada = scene.control.anonymous();
    ada.be(&scene.sign_in("ada").await.expect(200));
    let enrolment = ada.post("/control/v1/auth/totp", json!({})).await.expect(201);
    let key = enrolment.text("/secret");
    let (now, next) = (totp(&key, 0), totp(&key, 30));
    let confirm = "/control/v1/auth/totp/confirm";
    let confirmed = ada.post(confirm, json!({ "code": now })).await.expect(200);
    let asked = scene.sign_in("ada").await.expect(401);
    assert_eq!(asked.code(), "mfa_required");
    let token = asked.text("/error/details/mfaToken");
    let finish = "/control/v1/auth/login/totp";
    let anybody = scene.control.anonymous();
    let body = |code: &str| json!({ "mfaToken": token, "code": code });
    // The step that turned it on is spent.
    anybody.post(finish, body(&now)).await.expect(401);
    anybody.post(finish, body(&next)).await.expect(200);
    // And by a recovery code; with no password there is none to show to turn it off.
    let asked = scene.sign_in("ada").await.expect(401);
    let recovery = confirmed.text("/recoveryCodes/0");
    let body = json!({ "mfaToken": asked.text("/error/details/mfaToken"), "code": recovery });
    anybody.post(finish, body).await.expect(200);
    let body = json!({ "code": confirmed.text("/recoveryCodes/1") });
    ada.post("/control/v1/auth/totp/disable", body).await.expect(204);
    scene.sign_in("ada").await.expect(200);
}

/// The code of RFC 6238 so many seconds from now, by ring alone.
fn totp(key: &str, ahead: u64) -> String {
    let mut bits = 0_u32;
    let (mut held, mut bytes) = (0_u32, Vec::new());
    for letter in key.bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            _ => letter - b'2' + 26,
        };
        held = (held << 5) | u32::from(value);
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from((held >> bits) & 0xff).expect("masked"));
        }
    }
    #[expect(clippy::disallowed_methods, reason = "an authenticator has a clock of its own")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let step = (since + ahead) / 30;
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &bytes);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let at = usize::from(tag.as_ref()[19] & 0xf);
    let four: [u8; 4] = tag.as_ref()[at..at + 4].try_into().expect("four");
    format!("{:06}", (u32::from_be_bytes(four) & 0x7fff_ffff) % 1_000_000)
}

#[tokio::test(flavor = "multi_thread")]
async fn githubs_errors_come_with_status_200_and_are_errors() {
    let Some(mut scene) = Scene::of("github").await else { return };
    let departure = scene.depart().await;
    let back = scene.consent(&departure.leads_to(), "ada").await.leads_to();
    let page = scene.browser.open(&with_parameter(&back, "code", Some("guessed"))).await;
    assert_eq!(page.carries("error").as_deref(), Some("provider_error"), "{page:?}");
    scene.sign_in("ada").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_taken_from_the_address_bar_is_useless_without_the_dashboards_verifier() {
    let Some(mut scene) = Scene::of("oidc").await else { return };
    // RFC 7636, appendix B.
    let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    let url = with_parameter(&scene.control.url(&start("oidc")), "challenge", Some(challenge));
    let departure = scene.browser.open(&url).await;
    let back = scene.consent(&departure.leads_to(), "ada").await;
    let page = scene.browser.open(&back.leads_to()).await;
    let code = page.carries("code").expect("a code");
    scene.exchange(&code).await.expect(400);
    let exchange = "/control/v1/auth/oauth/exchange";
    let anybody = scene.control.anonymous();
    anybody.post(exchange, json!({ "code": code, "verifier": challenge })).await.expect(400);
    anybody.post(exchange, json!({ "code": code, "verifier": verifier })).await.expect(200);
}
