//! Who may do what: every operation of the API, for every role, for a member of another workspace,
//! for nobody, for a suspended member, and for an admin of the platform who is no member. A new
//! operation fails the test until it has its row.

use authsome_control_plane::actor::Role;
use authsome_control_plane::billing::bill::Off;
use authsome_control_plane::billing::coupon::{self, NewCoupon};
use authsome_control_plane::execute;
use authsome_control_plane::workspaces::admin::By;
use authsome_control_plane::workspaces::subscription;
use axum::http::Method;
use chrono::TimeDelta;
use serde_json::{Value, json};

use super::openapi::operations;
use crate::support::{Client, FakeProxy, PASSWORD, TestApp, text};

/// Expected statuses of owner, admin, developer, billing, viewer, a stranger, and nobody.
type Expected = [u16; 7];

const ANYBODY_SIGNED_IN: Expected = [200, 200, 200, 200, 200, 200, 401];
const MEMBERS: Expected = [200, 200, 200, 200, 200, 404, 401];
/// To a platform admin what `ADMIN_TABLE` says.
const PLATFORM_ADMINS: Expected = [403, 403, 403, 403, 403, 403, 401];

const TABLE: &[(&str, Expected)] = &[
    ("register", [201; 7]),
    ("login", [200; 7]),
    ("refresh", [200; 7]),
    ("logout", [204, 204, 204, 204, 204, 204, 401]),
    ("me", ANYBODY_SIGNED_IN),
    ("create_workspace", [201, 201, 201, 201, 201, 201, 401]),
    ("list_workspaces", ANYBODY_SIGNED_IN),
    ("get_workspace", MEMBERS),
    ("update_workspace", [200, 200, 200, 403, 403, 404, 401]),
    ("delete_workspace", [204, 403, 403, 403, 403, 404, 401]),
    // A deleted workspace exists only for those who may restore it.
    ("restore_workspace", [200, 404, 404, 404, 404, 404, 401]),
    ("invite_member", [201, 201, 403, 403, 403, 404, 401]),
    ("list_members", MEMBERS),
    ("update_member", [200, 200, 403, 403, 403, 404, 401]),
    ("remove_member", [204, 204, 403, 403, 403, 404, 401]),
    // Judged by the token, which nobody here has; `invitations::accept` has the rest.
    ("accept_invitation", [404, 404, 404, 404, 404, 404, 401]),
    ("create_application", [202, 202, 202, 403, 403, 404, 401]),
    ("list_applications", MEMBERS),
    ("get_application", MEMBERS),
    ("update_application", [200, 200, 200, 403, 403, 404, 401]),
    ("delete_application", [204, 204, 204, 403, 403, 404, 401]),
    ("restore_application", [200, 200, 200, 404, 404, 404, 401]),
    ("restart_application", [202, 202, 202, 403, 403, 404, 401]),
    ("get_application_logs", MEMBERS),
    ("get_application_metrics", MEMBERS),
    ("create_key", [201, 201, 201, 403, 403, 404, 401]),
    ("list_keys", [200, 200, 200, 403, 403, 404, 401]),
    ("revoke_key", [204, 204, 204, 403, 403, 404, 401]),
    ("rotate_key", [201, 201, 201, 403, 403, 404, 401]),
    ("get_usage", [200, 200, 200, 200, 403, 404, 401]),
    ("get_reconciliation", [200, 200, 200, 200, 403, 404, 401]),
    ("list_audit", [200, 200, 403, 403, 403, 404, 401]),
    ("export_audit", [200, 200, 403, 403, 403, 404, 401]),
    ("list_platform_audit", PLATFORM_ADMINS),
    ("list_proxies", PLATFORM_ADMINS),
    ("transfer_ownership", [200, 403, 403, 403, 403, 404, 401]),
    ("search_workspaces", PLATFORM_ADMINS),
    ("inspect_workspace", PLATFORM_ADMINS),
    ("update_terms", PLATFORM_ADMINS),
    ("suspend_workspace", PLATFORM_ADMINS),
    ("unsuspend_workspace", PLATFORM_ADMINS),
    ("list_plans", PLATFORM_ADMINS),
    ("get_plan", PLATFORM_ADMINS),
    ("replace_plan", PLATFORM_ADMINS),
    ("list_all_proxies", PLATFORM_ADMINS),
    ("forget_proxy", PLATFORM_ADMINS),
    ("list_users", PLATFORM_ADMINS),
    ("update_user", PLATFORM_ADMINS),
    ("update_me", ANYBODY_SIGNED_IN),
    ("list_sessions", ANYBODY_SIGNED_IN),
    // Nobody has this session; `auth::sessions` has the rest.
    ("revoke_session", [404, 404, 404, 404, 404, 404, 401]),
    ("revoke_other_sessions", [204, 204, 204, 204, 204, 204, 401]),
    ("forgot_password", [202; 7]),
    // Judged by the token, as the next; `auth::password` and `auth::email` have the rest.
    ("reset_password", [400; 7]),
    ("change_password", [204, 204, 204, 204, 204, 204, 401]),
    ("verify_email", [400; 7]),
    ("send_verification", [202, 202, 202, 202, 202, 202, 401]),
    ("change_email", [202, 202, 202, 202, 202, 202, 401]),
    ("login_totp", [401; 7]),
    ("get_totp", ANYBODY_SIGNED_IN),
    ("enrol_totp", [201, 201, 201, 201, 201, 201, 401]),
    // Wrong codes; `auth::totp` has the rest.
    ("confirm_totp", [400, 400, 400, 400, 400, 400, 401]),
    ("disable_totp", [409, 409, 409, 409, 409, 409, 401]),
    ("renew_recovery_codes", [409, 409, 409, 409, 409, 409, 401]),
    ("list_providers", [200; 7]),
    // No provider is configured; `auth::oauth` has the rest.
    ("start_oauth", [404; 7]),
    ("finish_oauth", [404; 7]),
    ("exchange_oauth_code", [400; 7]),
    ("list_identities", ANYBODY_SIGNED_IN),
    ("begin_link", [404, 404, 404, 404, 404, 404, 401]),
    ("confirm_link", [400, 400, 400, 400, 400, 400, 401]),
    ("unlink_identity", [404, 404, 404, 404, 404, 404, 401]),
    ("create_webhook", [201, 201, 201, 403, 403, 404, 401]),
    ("list_webhooks", MEMBERS),
    ("get_webhook", MEMBERS),
    ("update_webhook", [200, 200, 200, 403, 403, 404, 401]),
    ("delete_webhook", [204, 204, 204, 403, 403, 404, 401]),
    ("rotate_webhook_secret", [200, 200, 200, 403, 403, 404, 401]),
    ("test_webhook", [202, 202, 202, 403, 403, 404, 401]),
    ("list_deliveries", MEMBERS),
    ("get_delivery", MEMBERS),
    ("replay_delivery", [202, 202, 202, 403, 403, 404, 401]),
    ("get_usage_breakdown", [200, 200, 200, 200, 403, 404, 401]),
    ("export_usage", [200, 200, 200, 200, 403, 404, 401]),
    ("create_meter", PLATFORM_ADMINS),
    ("list_meters", PLATFORM_ADMINS),
    ("get_meter", PLATFORM_ADMINS),
    ("update_meter", PLATFORM_ADMINS),
    ("archive_meter", PLATFORM_ADMINS),
    // And to who shows the ingest token: `ingest` has the rest.
    ("report_storage", PLATFORM_ADMINS),
    ("send_meter_events", PLATFORM_ADMINS),
    // Stripe is not configured; `payment_method` and `stripe_webhooks` have the rest.
    ("set_payment_method", [501, 501, 403, 501, 403, 404, 401]),
    ("get_payment_method", [501, 501, 501, 501, 403, 404, 401]),
    ("delete_payment_method", [501, 501, 403, 501, 403, 404, 401]),
    ("create_setup_intent", [501, 501, 403, 501, 403, 404, 401]),
    ("open_billing_portal", [501, 501, 403, 501, 403, 404, 401]),
    ("receive_stripe_webhook", [501; 7]),
    ("list_invoices", [200, 200, 200, 200, 403, 404, 401]),
    ("get_invoice", [200, 200, 200, 200, 403, 404, 401]),
    ("download_invoice", [200, 200, 200, 200, 403, 404, 401]),
    ("list_credit_notes", [200, 200, 200, 200, 403, 404, 401]),
    ("download_credit_note", [200, 200, 200, 200, 403, 404, 401]),
    ("get_balance", [200, 200, 200, 200, 403, 404, 401]),
    ("get_billing_details", [200, 200, 200, 200, 403, 404, 401]),
    ("replace_billing_details", [200, 200, 403, 200, 403, 404, 401]),
    ("search_invoices", PLATFORM_ADMINS),
    ("inspect_invoice", PLATFORM_ADMINS),
    ("download_any_invoice", PLATFORM_ADMINS),
    ("pay_invoice", PLATFORM_ADMINS),
    ("void_invoice", PLATFORM_ADMINS),
    ("issue_credit_note", PLATFORM_ADMINS),
    ("create_charge", PLATFORM_ADMINS),
    ("list_charges", PLATFORM_ADMINS),
    ("delete_charge", PLATFORM_ADMINS),
    ("set_tax_exemption", PLATFORM_ADMINS),
    ("get_subscription", [200, 200, 200, 200, 403, 404, 401]),
    ("change_plan", [200, 200, 403, 200, 403, 404, 401]),
    ("cancel_plan_change", [204, 204, 403, 204, 403, 404, 401]),
    ("preview_plan", [200, 200, 200, 200, 403, 404, 401]),
    ("redeem_coupon", [201, 201, 403, 201, 403, 404, 401]),
    ("list_redeemed_coupons", [200, 200, 200, 200, 403, 404, 401]),
    ("list_plan_versions", PLATFORM_ADMINS),
    ("get_plan_version", PLATFORM_ADMINS),
    ("move_workspaces", PLATFORM_ADMINS),
    ("start_trial", PLATFORM_ADMINS),
    ("end_trial", PLATFORM_ADMINS),
    ("create_coupon", PLATFORM_ADMINS),
    ("list_coupons", PLATFORM_ADMINS),
    ("get_coupon", PLATFORM_ADMINS),
    ("disable_coupon", PLATFORM_ADMINS),
    ("remove_coupon", PLATFORM_ADMINS),
];

/// What is open to the platform's admins is open to them alone, and nothing else is because of it:
/// elsewhere they are what a stranger is. The rows of `PLATFORM_ADMINS`, with what an admin is
/// answered.
const ADMIN_TABLE: &[(&str, u16)] = &[
    ("list_proxies", 200),
    ("list_platform_audit", 200),
    ("search_workspaces", 200),
    ("inspect_workspace", 200),
    ("update_terms", 200),
    ("suspend_workspace", 200),
    ("unsuspend_workspace", 200),
    ("list_plans", 200),
    ("get_plan", 200),
    ("replace_plan", 200),
    ("list_all_proxies", 200),
    ("forget_proxy", 204),
    ("list_users", 200),
    ("update_user", 200),
    ("create_meter", 201),
    ("list_meters", 200),
    ("get_meter", 200),
    ("update_meter", 200),
    ("archive_meter", 204),
    ("report_storage", 200),
    ("send_meter_events", 200),
    ("search_invoices", 200),
    ("inspect_invoice", 200),
    ("download_any_invoice", 200),
    ("pay_invoice", 200),
    ("void_invoice", 200),
    ("issue_credit_note", 201),
    ("create_charge", 201),
    ("list_charges", 200),
    ("delete_charge", 204),
    ("set_tax_exemption", 200),
    ("list_plan_versions", 200),
    ("get_plan_version", 200),
    ("move_workspaces", 202),
    ("start_trial", 200),
    ("end_trial", 204),
    ("create_coupon", 201),
    ("list_coupons", 200),
    ("get_coupon", 200),
    ("disable_coupon", 204),
    ("remove_coupon", 204),
];

/// Expected status of a platform admin who is not a member.
fn of_platform_admin(id: &str, expected: &Expected) -> u16 {
    ADMIN_TABLE.iter().find(|(name, _)| *name == id).map_or(expected[5], |(_, status)| *status)
}

/// A fresh workspace for one request, and what stands in the operation's path.
pub struct Scene {
    workspace: String,
    application: Option<String>,
    key: Option<String>,
    member: Option<String>,
    webhook: Option<String>,
    delivery: Option<String>,
    proxy: Option<String>,
    meter: Option<String>,
    user: String,
    invoice: Option<String>,
    credit_note: Option<String>,
    charge: Option<String>,
    coupon: Option<String>,
}

impl Scene {
    /// As the operation needs it before it can succeed.
    pub async fn of(
        app: &TestApp,
        owner: &Client,
        bystander: &Client,
        path: &str,
        id: &str,
    ) -> Self {
        let workspace = owner.workspace("pro").await;
        let mut scene = Self {
            workspace,
            application: None,
            key: None,
            member: None,
            webhook: None,
            delivery: None,
            proxy: None,
            meter: None,
            user: String::new(),
            invoice: None,
            credit_note: None,
            charge: None,
            coupon: None,
        };
        if path.contains("{applicationId}") || id == "report_storage" {
            let application = owner.application(&scene.workspace, json!({})).await;
            scene.application = Some(text(&application["id"]));
        }
        if path.contains("{keyId}") {
            let application = scene.application.as_ref().unwrap();
            scene.key = Some(text(&owner.key(application).await["id"]));
        }
        if path.contains("{memberId}") || id == "transfer_ownership" {
            scene.member = Some(app.add_member(&scene.workspace, bystander, Role::Viewer).await);
        }
        if path.contains("{webhookId}") {
            let application = scene.application.as_ref().unwrap();
            let hooks = format!("/control/v1/applications/{application}/webhooks");
            let body = json!({ "url": "https://1.1.1.1/hook" });
            let webhook = text(&owner.post(&hooks, body).await.json(201)["id"]);
            let hook = format!("{hooks}/{webhook}");
            if path.contains("{deliveryId}") {
                let delivery = owner.post(&format!("{hook}/test"), json!({})).await.json(202);
                scene.delivery = Some(text(&delivery["id"]));
                // Ends it.
                owner.patch(&hook, json!({ "enabled": false })).await.is(200);
                owner.patch(&hook, json!({ "enabled": true })).await.is(200);
            }
            scene.webhook = Some(webhook);
        }
        scene.bill(app, owner, path, id).await;
        match id {
            "restore_workspace" => {
                let path = format!("/control/v1/workspaces/{}", scene.workspace);
                owner.delete(&path).await.is(204);
            }
            // Only an active one can be restarted.
            "restart_application" => {
                app.run_due().await;
            }
            "restore_application" => {
                let application = scene.application.as_ref().unwrap();
                let path = format!("/control/v1/applications/{application}");
                owner.delete(&path).await.is(204);
            }
            "unsuspend_workspace" => {
                let mut tx = app.write().await;
                let update = "update workspaces set status = 'suspended' where id = $1";
                execute!(tx, sqlx::query(update).bind(&scene.workspace)).unwrap();
                tx.commit().await.unwrap();
            }
            _ => {}
        }
        if path.contains("{proxyId}") {
            let gone = FakeProxy::new(app);
            gone.leave().await;
            scene.proxy = Some(gone.id.to_string());
        }
        if path.contains("{meter}") {
            scene.meter = Some(Self::meter(app, &scene.workspace).await);
        }
        if path.contains("{invoiceId}") || path.contains("{creditNoteId}") {
            let invoice = app.issue(&scene.workspace).await.id;
            if path.contains("{creditNoteId}") {
                scene.credit_note = Some(app.credit(&invoice, 100).await.id.to_string());
            }
            scene.invoice = Some(invoice.to_string());
        }
        if path.contains("{chargeId}") {
            scene.charge = Some(app.charge(&scene.workspace).await);
        }
        scene.user = bystander.id();
        scene
    }

    /// A meter that nobody has archived yet.
    async fn meter(app: &TestApp, workspace: &str) -> String {
        let name = format!("m{}", workspace.to_lowercase());
        let mut tx = app.write().await;
        execute!(
            tx,
            sqlx::query(
                "insert into meters (name, label, unit, aggregation, created_at, updated_at) \
                 values ($1, 'A meter', 'unit', 'sum', $2, $2)"
            )
            .bind(&name)
            .bind(app.now())
        )
        .unwrap();
        tx.commit().await.unwrap();
        name
    }

    /// What the operation needs of plans and coupons.
    async fn bill(&mut self, app: &TestApp, owner: &Client, path: &str, id: &str) {
        let workspace = format!("/control/v1/workspaces/{}", self.workspace);
        if path.contains("{code}") || id == "redeem_coupon" {
            let code = self.workspace.clone();
            let off = Off::Share(500_000);
            let (months, max_redemptions, redeem_by) = (None, None, None);
            let plans = vec![];
            let new = NewCoupon { code, off, months, max_redemptions, redeem_by, plans };
            let mut tx = app.write().await;
            let made = coupon::create(&mut tx, &By::CommandLine, new).await.unwrap();
            tx.commit().await.unwrap();
            self.coupon = Some(made.code);
        }
        match id {
            "remove_coupon" => {
                let body = json!({ "code": self.coupon });
                owner.post(&format!("{workspace}/coupons"), body).await.is(201);
            }
            "cancel_plan_change" => {
                let body = json!({ "plan": "free", "when": "period_end" });
                owner.post(&format!("{workspace}/plan"), body).await.is(200);
            }
            "end_trial" => {
                let mut tx = app.write().await;
                let until = Some(app.now() + TimeDelta::days(1));
                let id = self.workspace.parse().unwrap();
                subscription::set_trial(&mut tx, &id, until).await.unwrap();
                tx.commit().await.unwrap();
            }
            _ => {}
        }
    }

    pub fn path(&self, template: &str) -> String {
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        template
            .replace("{workspaceId}", &self.workspace)
            .replace("{applicationId}", &part(&self.application))
            .replace("{keyId}", &part(&self.key))
            .replace("{memberId}", &part(&self.member))
            .replace("{webhookId}", &part(&self.webhook))
            .replace("{deliveryId}", &part(&self.delivery))
            .replace("{proxyId}", &part(&self.proxy))
            .replace("{meter}", &part(&self.meter))
            .replace("{userId}", &self.user)
            .replace("{invoiceId}", &part(&self.invoice))
            .replace("{creditNoteId}", &part(&self.credit_note))
            .replace("{chargeId}", &part(&self.charge))
            .replace("{plan}", "enterprise")
            .replace("{version}", "1")
            .replace("{code}", &part(&self.coupon))
            // What no scene has.
            .replace("{sessionId}", "ses_none")
            .replace("{identityId}", "idn_none")
            .replace("{provider}", "nobody")
    }

    /// A body with what stands in it for what the scene has.
    pub fn filled(&self, body: &Value) -> Value {
        serde_json::from_str(&self.path(&body.to_string())).unwrap()
    }

    async fn send(&self, caller: &Client, method: &str, template: &str, body: Value) -> u16 {
        let method: Method = method.parse().unwrap();
        caller.send_json(method, &self.path(template), &body).await.status
    }
}

/// A body that the operation accepts.
pub fn body(id: &str, n: usize, refresh_token: &str) -> Value {
    match id {
        "register" => json!({
            "email": format!("new{n}@example.com"), "password": PASSWORD, "name": "New",
        }),
        "login" => json!({ "email": "owner@example.com", "password": PASSWORD }),
        "refresh" => json!({ "refreshToken": refresh_token }),
        "create_workspace" | "update_workspace" | "create_application" | "update_application" => {
            json!({ "name": "Named" })
        }
        "invite_member" => json!({ "email": "new@example.com", "role": "viewer" }),
        "update_member" => json!({ "role": "billing" }),
        "accept_invitation" => json!({ "token": "inv_none" }),
        "create_key" => json!({ "name": "Named", "type": "secret" }),
        "create_webhook" => json!({ "url": "https://1.1.1.1/hook" }),
        "transfer_ownership" => json!({ "memberId": "{memberId}" }),
        "replace_plan" => plan(),
        "update_me" => json!({ "name": "Named" }),
        "forgot_password" => json!({ "email": format!("forgot{n}@example.com") }),
        "reset_password" => json!({ "token": "mt_none", "password": PASSWORD }),
        "change_password" => json!({ "currentPassword": PASSWORD, "newPassword": PASSWORD }),
        "verify_email" => json!({ "token": "mt_none" }),
        "change_email" => {
            json!({ "email": format!("changed{n}@example.com"), "password": PASSWORD })
        }
        "login_totp" => json!({ "mfaToken": "mfa_none", "code": "000000" }),
        "confirm_totp" | "renew_recovery_codes" => json!({ "code": "none" }),
        "disable_totp" => json!({ "password": PASSWORD, "code": "none" }),
        "exchange_oauth_code" | "confirm_link" => json!({ "code": "oc_none" }),
        "set_payment_method" => json!({ "stripePaymentMethodId": "pm_card_visa" }),
        "begin_link" => json!({ "provider": "google" }),
        "create_meter" => json!({
            "name": format!("new{n}"), "label": "New", "unit": "unit", "aggregation": "sum",
        }),
        "update_meter" => json!({ "label": "Named" }),
        "report_storage" => {
            json!({ "reports": [{ "applicationId": "{applicationId}", "bytes": 1 }] })
        }
        "send_meter_events" => {
            json!({ "events": [{ "id": format!("event-{n}"), "workspaceId": "{workspaceId}" }] })
        }
        "suspend_workspace" | "void_invoice" | "issue_credit_note" => {
            json!({ "reason": "Because" })
        }
        "create_charge" => json!({ "amount": 12.5, "description": "Help" }),
        "set_tax_exemption" => json!({ "taxExempt": "exempt" }),
        "change_plan" | "preview_plan" => json!({ "plan": "free" }),
        "redeem_coupon" => json!({ "code": "{code}" }),
        "create_coupon" => json!({ "code": format!("NEW{n}"), "percentOff": 10 }),
        "start_trial" => json!({ "days": 14 }),
        "move_workspaces" => json!({ "all": true }),
        _ => json!({}),
    }
}

fn plan() -> Value {
    json!({
        "feeMinor": 0, "applications": null, "requestsPerMonth": null, "api": null,
        "rateLimit": { "requests": 1 },
        "activeUsers": { "included": 0, "tiers": [] }, "storageGb": { "included": 0, "tiers": [] },
    })
}

#[tokio::test]
async fn every_operation_is_open_to_exactly_these() {
    let app = TestApp::with(|config| {
        // A workspace for each operation and role, and no minute passes.
        config.api.limits = false;
        config.identity.logins_per_minute = 1_000;
        config.identity.mail_tokens_per_minute = 1_000;
        config.identity.access_token_seconds = 86_400;
    })
    .await;
    app.leave_jobs();
    let owner = app.sign_up("owner").await;
    let member = app.sign_up("member").await;
    let stranger = app.sign_up("stranger").await;
    let bystander = app.sign_up("bystander").await;
    let platform_admin = app.sign_up_admin("platform-admin").await;
    stranger.workspace("pro").await;

    let operations = operations();
    for (id, expected) in TABLE {
        assert!(
            operations.iter().any(|(_, _, operation)| operation["operationId"] == *id),
            "{id} is in the table and not in the API"
        );
        let for_admins = ADMIN_TABLE.iter().any(|(name, _)| name == id);
        assert_eq!(for_admins, *expected == PLATFORM_ADMINS, "{id}: both tables or none");
    }
    let mut wrong = vec![];
    for (template, method, operation) in operations {
        let id = text(&operation["operationId"]);
        let Some((_, expected)) = TABLE.iter().find(|(name, _)| *name == id) else {
            panic!("{id} has no row in the access table: who may call it?");
        };
        // So many calls in one minute are refused.
        app.advance(TimeDelta::minutes(1));
        // A suspended member is a stranger.
        let further = [expected[5], of_platform_admin(&id, expected)];
        for (n, status) in expected.iter().chain(&further).enumerate() {
            let scene = Scene::of(&app, &owner, &bystander, &template, &id).await;
            let role = Role::ALL.get(n).copied();
            let mut caller = match n {
                0 => owner.clone(),
                1..5 => {
                    app.add_member(&scene.workspace, &member, role.unwrap()).await;
                    member.clone()
                }
                5 => stranger.clone(),
                6 => app.anonymous(),
                7 => {
                    app.add_member(&scene.workspace, &member, Role::Owner).await;
                    app.suspend_member(&scene.workspace, &member).await;
                    member.clone()
                }
                _ => platform_admin.clone(),
            };
            if id == "logout" && n != 6 || id == "refresh" {
                // A session of its own, since this one ends.
                let email = if n == 6 { "owner@example.com".into() } else { caller.email() };
                let credentials = json!({ "email": email, "password": PASSWORD });
                let path = "/control/v1/auth/login";
                let signed_in = app.anonymous().post(path, credentials).await.json(200);
                caller.be(&signed_in);
            }
            let body = scene.filled(&body(&id, n, &caller.refresh_token));
            let answered = scene.send(&caller, &method, &template, body).await;
            if answered != *status {
                let who = [
                    "owner",
                    "admin",
                    "developer",
                    "billing",
                    "viewer",
                    "stranger",
                    "nobody",
                    "suspended owner",
                    "platform admin",
                ];
                wrong.push(format!("{id} as {}: {answered}, not {status}", who[n]));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
