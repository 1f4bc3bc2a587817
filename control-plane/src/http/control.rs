//! The control plane's API for dashboard users (`/control/v1`): the primary contract. Request and
//! response structs stand above their handlers; a handler's name is its operation id.

mod admin;
mod applications;
mod audit;
mod auth;
mod billing_details;
mod coupons;
mod credit_notes;
mod deliveries;
mod documents;
mod invitations;
mod invoices;
mod keys;
mod members;
mod payment_method;
mod proxies;
mod stripe;
mod subscription;
mod usage;
mod webhooks;
mod workspaces;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
pub use stripe::PATH as STRIPE_WEBHOOKS;

/// Bodies that the command line reads and writes as the API does.
pub use admin::coupons::{CouponBody, CreateCoupon};
pub use admin::plans::{LimitsBody, PlanBody};
pub use admin::versions::VersionBody;
pub use invoices::InvoiceBody;

/// Every operation, with its description.
#[expect(clippy::too_many_lines, reason = "a line for each operation")]
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(auth::register))
        .routes(routes!(auth::login))
        .routes(routes!(auth::refresh))
        .routes(routes!(auth::logout))
        .routes(routes!(auth::me, auth::update_me))
        .routes(routes!(auth::sessions::list_sessions, auth::sessions::revoke_other_sessions))
        .routes(routes!(auth::sessions::revoke_session))
        .routes(routes!(auth::password::forgot_password))
        .routes(routes!(auth::password::reset_password))
        .routes(routes!(auth::password::change_password))
        .routes(routes!(auth::email::verify_email))
        .routes(routes!(auth::email::send_verification))
        .routes(routes!(auth::email::change_email))
        .routes(routes!(auth::totp::login_totp))
        .routes(routes!(auth::totp::get_totp, auth::totp::enrol_totp))
        .routes(routes!(auth::totp::confirm_totp))
        .routes(routes!(auth::totp::disable_totp))
        .routes(routes!(auth::totp::renew_recovery_codes))
        .routes(routes!(auth::oauth::list_providers))
        .routes(routes!(auth::oauth::start_oauth))
        .routes(routes!(auth::oauth::finish_oauth))
        .routes(routes!(auth::oauth::exchange_oauth_code))
        .routes(routes!(auth::identities::list_identities, auth::identities::begin_link))
        .routes(routes!(auth::identities::confirm_link))
        .routes(routes!(auth::identities::unlink_identity))
        .routes(routes!(workspaces::create_workspace, workspaces::list_workspaces))
        .routes(routes!(
            workspaces::get_workspace,
            workspaces::update_workspace,
            workspaces::delete_workspace
        ))
        .routes(routes!(workspaces::restore_workspace))
        .routes(routes!(members::invite_member, members::list_members))
        .routes(routes!(members::update_member, members::remove_member))
        .routes(routes!(invitations::accept_invitation))
        .routes(routes!(applications::create_application, applications::list_applications))
        .routes(routes!(
            applications::get_application,
            applications::update_application,
            applications::delete_application
        ))
        .routes(routes!(applications::restore_application))
        .routes(routes!(applications::restart_application))
        .routes(routes!(applications::logs::get_application_logs))
        .routes(routes!(applications::metrics::get_application_metrics))
        .routes(routes!(keys::create_key, keys::list_keys))
        .routes(routes!(keys::revoke_key))
        .routes(routes!(keys::rotate_key))
        .routes(routes!(usage::get_usage))
        .routes(routes!(usage::reconciliation::get_reconciliation))
        .routes(routes!(usage::breakdown::get_usage_breakdown))
        .routes(routes!(usage::export::export_usage))
        .routes(routes!(proxies::list_proxies))
        .routes(routes!(audit::list_audit))
        .routes(routes!(audit::export_audit))
        .routes(routes!(audit::list_platform_audit))
        .routes(routes!(workspaces::transfer_ownership))
        .routes(routes!(admin::workspaces::search_workspaces))
        .routes(routes!(admin::workspaces::inspect_workspace, admin::workspaces::update_terms))
        .routes(routes!(admin::workspaces::suspend_workspace))
        .routes(routes!(admin::workspaces::unsuspend_workspace))
        .routes(routes!(admin::plans::list_plans))
        .routes(routes!(admin::plans::get_plan, admin::plans::replace_plan))
        .routes(routes!(admin::proxies::list_all_proxies))
        .routes(routes!(admin::proxies::forget_proxy))
        .routes(routes!(admin::users::list_users))
        .routes(routes!(admin::users::update_user))
        .routes(routes!(webhooks::create_webhook, webhooks::list_webhooks))
        .routes(routes!(webhooks::get_webhook, webhooks::update_webhook, webhooks::delete_webhook))
        .routes(routes!(webhooks::rotate_webhook_secret))
        .routes(routes!(webhooks::test_webhook))
        .routes(routes!(deliveries::list_deliveries))
        .routes(routes!(deliveries::get_delivery))
        .routes(routes!(deliveries::replay_delivery))
        .routes(routes!(admin::meters::create_meter, admin::meters::list_meters))
        .routes(routes!(
            admin::meters::get_meter,
            admin::meters::update_meter,
            admin::meters::archive_meter
        ))
        .routes(routes!(
            payment_method::set_payment_method,
            payment_method::get_payment_method,
            payment_method::delete_payment_method
        ))
        .routes(routes!(payment_method::create_setup_intent))
        .routes(routes!(payment_method::open_billing_portal))
        .routes(routes!(stripe::receive_stripe_webhook))
        .routes(routes!(invoices::list_invoices))
        .routes(routes!(invoices::get_invoice))
        .routes(routes!(invoices::download_invoice))
        .routes(routes!(credit_notes::list_credit_notes))
        .routes(routes!(credit_notes::download_credit_note))
        .routes(routes!(credit_notes::get_balance))
        .routes(routes!(
            billing_details::get_billing_details,
            billing_details::replace_billing_details
        ))
        .routes(routes!(admin::invoices::search_invoices))
        .routes(routes!(admin::invoices::inspect_invoice))
        .routes(routes!(admin::invoices::download_any_invoice))
        .routes(routes!(admin::invoices::pay_invoice))
        .routes(routes!(admin::invoices::void_invoice))
        .routes(routes!(admin::invoices::issue_credit_note))
        .routes(routes!(admin::invoices::create_charge, admin::invoices::list_charges))
        .routes(routes!(admin::invoices::delete_charge))
        .routes(routes!(admin::invoices::set_tax_exemption))
        .routes(routes!(subscription::get_subscription))
        .routes(routes!(subscription::change_plan))
        .routes(routes!(subscription::cancel_plan_change))
        .routes(routes!(subscription::preview_plan))
        .routes(routes!(coupons::redeem_coupon, coupons::list_redeemed_coupons))
        .routes(routes!(admin::versions::list_plan_versions))
        .routes(routes!(admin::versions::get_plan_version))
        .routes(routes!(admin::versions::move_workspaces))
        .routes(routes!(admin::trials::start_trial, admin::trials::end_trial))
        .routes(routes!(admin::coupons::create_coupon, admin::coupons::list_coupons))
        .routes(routes!(admin::coupons::get_coupon, admin::coupons::disable_coupon))
        .routes(routes!(admin::coupons::remove_coupon))
}
