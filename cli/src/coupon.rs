//! `authsome coupon create|list|disable`: the coupons, on the platform's database itself, with the
//! rules of the API.
//!
//! A coupon that can't be is refused with every rule that it breaks; exit code 1.

use anyhow::Context;
use authsome_control_plane::app::App;
use authsome_control_plane::billing::bill::{Off, percent};
use authsome_control_plane::billing::coupon::{self, Coupon};
use authsome_control_plane::billing::money::Currency;
use authsome_control_plane::http::control::{CouponBody, CreateCoupon};
use authsome_control_plane::page::PageParams;
use authsome_control_plane::workspaces::admin::By;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::database::{Platform, print_table, whole};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    platform: Platform,
    /// For scripts: JSON, as the API writes it.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a coupon.
    Create(Create),
    /// Say which coupons there are, the newest first.
    List {
        /// Of a hundred each.
        #[arg(long, value_name = "N", default_value_t = 1)]
        page: u32,
    },
    /// Let nobody redeem a coupon any more; those who have keep it.
    Disable { code: String },
}

#[derive(Debug, Args)]
struct Create {
    code: String,
    /// Of what is charged, such as 12.5.
    #[arg(long, value_name = "PERCENT", required_unless_present = "amount_off")]
    percent_off: Option<f64>,
    /// Of each month, such as 5.50, in the platform's currency.
    #[arg(long, value_name = "AMOUNT", conflicts_with = "percent_off")]
    amount_off: Option<f64>,
    /// For so many months; without it for ever.
    #[arg(long, value_name = "N")]
    months: Option<u32>,
    /// In all.
    #[arg(long, value_name = "N")]
    max_redemptions: Option<u64>,
    /// Such as 2026-12-31T00:00:00Z.
    #[arg(long, value_name = "TIME")]
    redeem_by: Option<String>,
    /// Only what is charged for the time under this plan; may be given more than once.
    #[arg(long = "plan", value_name = "PLAN")]
    plans: Vec<String>,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let json = arguments.json;
    arguments.platform.with(async |app| match &arguments.action {
        Action::Create(new) => create(app, new, json).await,
        Action::List { page } => list(app, *page, json).await,
        Action::Disable { code } => disable(app, code, json).await,
    })
}

async fn create(app: &App, new: &Create, as_json: bool) -> anyhow::Result<()> {
    let currency = &app.config.billing.currency;
    if let Some(by) = &new.redeem_by {
        let alone = json!({ "code": new.code, "redeemBy": by });
        serde_json::from_value::<CreateCoupon>(alone).with_context(|| {
            format!("--redeem-by {by:?} is no time such as 2026-12-31T00:00:00Z")
        })?;
    }
    let mut body = json!({ "code": new.code });
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            body[name] = value;
        }
    };
    put("percentOff", new.percent_off.map(Into::into));
    put("amountOff", new.amount_off.map(Into::into));
    put("months", new.months.map(Into::into));
    put("maxRedemptions", new.max_redemptions.map(Into::into));
    put("redeemBy", new.redeem_by.clone().map(Into::into));
    put("plans", (!new.plans.is_empty()).then(|| json!(new.plans)));
    let body: CreateCoupon = serde_json::from_value(body)?;
    let new = body.into_new(currency).map_err(whole)?;
    let mut tx = app.db.write().await?;
    let made = coupon::create(&mut tx, &By::CommandLine, new).await.map_err(whole)?;
    tx.commit().await?;
    if as_json {
        println!("{}", serde_json::to_string_pretty(&CouponBody::new(&made, currency))?);
    } else {
        let length = made.months.map_or("for ever".to_owned(), |months| format!("{months} months"));
        println!("{}: {} off, {length}", made.code, off(&made, currency));
    }
    Ok(())
}

async fn list(app: &App, page: u32, as_json: bool) -> anyhow::Result<()> {
    let currency = &app.config.billing.currency;
    let mut tx = app.db.read().await?;
    let found = coupon::list(&mut tx, PageParams { page, page_size: 100 }).await?;
    if as_json {
        let page = found.map(|coupon| CouponBody::new(&coupon, currency));
        println!("{}", serde_json::to_string_pretty(&page)?);
        return Ok(());
    }
    if found.total == 0 {
        eprintln!("there are no coupons; `authsome coupon create` makes one");
        return Ok(());
    }
    let row = |coupon: &Coupon| {
        let most = coupon.max_redemptions.map_or(String::new(), |most| format!(" of {most}"));
        let plans: Vec<&str> = coupon.plans().iter().map(|plan| plan.as_str()).collect();
        let state = match (coupon.disabled_at, coupon.redeem_by) {
            (Some(_), _) => "disabled".to_owned(),
            (None, Some(by)) => format!("until {}", by.format("%Y-%m-%d")),
            (None, None) => String::new(),
        };
        vec![
            coupon.code.clone(),
            off(coupon, currency),
            coupon.months.map_or("for ever".to_owned(), |months| months.to_string()),
            if plans.is_empty() { "all".to_owned() } else { plans.join(", ") },
            format!("{}{most}", coupon.redemptions),
            state,
        ]
    };
    let rows: Vec<Vec<String>> = found.data.iter().map(row).collect();
    print_table(&["CODE", "OFF", "MONTHS", "PLANS", "REDEEMED", ""], &rows);
    let shown = i64::from(page.max(1)) * 100;
    if shown < found.total {
        eprintln!("{} more: --page {}", found.total - shown, page.max(1) + 1);
    }
    Ok(())
}

async fn disable(app: &App, code: &str, as_json: bool) -> anyhow::Result<()> {
    let mut tx = app.db.write().await?;
    let coupon = coupon::disable(&mut tx, &By::CommandLine, code).await;
    let coupon = coupon.with_context(|| code.to_owned())?;
    tx.commit().await?;
    if as_json {
        let body = CouponBody::new(&coupon, &app.config.billing.currency);
        println!("{}", serde_json::to_string_pretty(&body)?);
    } else {
        println!("{} can't be redeemed any more; those who have keep it", coupon.code);
    }
    Ok(())
}

fn off(coupon: &Coupon, currency: &Currency) -> String {
    match coupon.off() {
        Off::Share(share) => percent(share),
        Off::Amount(amount) => currency.format(amount),
    }
}
