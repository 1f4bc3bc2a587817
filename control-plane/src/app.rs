//! The control plane's one state, shared by every handler and job: settings, database, keys, mail.
//! Cheap to clone. Opening it migrates the database and settles what a restart may have changed.

use std::ops::Deref;
use std::sync::Arc;

use authsome_shared::clock::Clock;
use authsome_shared::envelope::Envelope;
use authsome_shared::secret::Secret;

use crate::applications::{self, Seals};
use crate::billing::document::typeface::Fonts;
use crate::billing::stripe::{self, Stripe};
use crate::config::{Config, given};
use crate::db::Db;
use crate::egress::Resolver;
use crate::error::Result;
use crate::identity;
use crate::identity::gate::Gate;
use crate::identity::oauth::Providers;
use crate::identity::password::Passwords;
use crate::identity::session::Seen;
use crate::identity::throttle::AddressLimits;
use crate::identity::token::TokenKeys;
use crate::mail::Mailer;
use crate::metering::intake::Intake;
use crate::platform;
use crate::proxies;
use crate::sealed::Sealer;
use crate::workspaces::api_limit::ApiLimits;
use crate::{files, random};

#[derive(Debug, Clone)]
pub struct App(Arc<State>);

#[derive(Debug)]
pub struct State {
    pub config: Config,
    pub db: Db,
    pub clock: Clock,
    pub sealer: Sealer,
    pub tokens: TokenKeys,
    pub passwords: Passwords,
    pub address_limits: AddressLimits,
    pub api_limits: ApiLimits,
    /// What is known of identity providers.
    pub providers: Providers,
    /// Where guesses queue.
    pub gate: Gate,
    /// When sessions were last seen, until it is written.
    pub seen: Seen,
    /// Usage that waits to be applied.
    pub intake: Intake,
    pub mailer: Mailer,
    /// Finds the addresses of users' URLs.
    pub resolver: Resolver,
    /// The collector, if there is one: `App::stripe`.
    stripe: Option<Stripe>,
    /// What documents are set in.
    pub fonts: Fonts,
    /// What a proxy shows to be let in.
    pub node_token: Secret<String>,
    /// What lets in those who report storage and send meters' events.
    pub ingest_token: Secret<String>,
    pub before: proxies::Before,
    /// Seals for those who have it.
    pub envelope: Envelope,
}

impl Deref for App {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0
    }
}

impl App {
    /// Opens the data directory and the database.
    pub async fn open(config: Config, clock: Clock) -> anyhow::Result<Self> {
        // For the HTTP clients; also when a command opens the platform without serving it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        files::prepare_data_dir(&config.server.data_dir)?;
        let db =
            Db::open(&config.database(), config.database.max_connections, clock.clone()).await?;
        let sealer = Sealer::load(given(&config.platform.master_key), &config.server.data_dir)?;
        let node_token = node_token(&config)?;
        let ingest_token = ingest_token(&config)?;
        let envelope = Envelope::new(node_token.expose());
        let fonts = config.documents.read_fonts()?;
        let mut tx = db.write().await?;
        platform::settle(&mut tx, &config).await?;
        identity::admin::settle(&mut tx, &config.platform.admins).await?;
        let seals = Seals { own: &sealer, proxies: &envelope };
        applications::client_key::seal_anew(&mut tx, seals).await?;
        let tokens = TokenKeys::load(&mut tx, &sealer).await?;
        let before = proxies::Before::read(&mut tx).await?;
        tx.commit().await?;
        let mailer = Mailer::new(&config.mail, &config.server.data_dir)?;
        let resolver = Resolver::new(config.egress.dns_server()?)?;
        let address_limits = AddressLimits::new(&config.identity);
        let stripe = Stripe::new(&config.billing.stripe)?;
        let gate = Gate::new(config.database.max_connections);
        Ok(Self(Arc::new(State {
            passwords: Passwords::new(),
            before,
            config,
            db,
            clock,
            sealer,
            tokens,
            address_limits,
            api_limits: ApiLimits::default(),
            providers: Providers::new()?,
            gate,
            seen: Seen::default(),
            intake: Intake::default(),
            mailer,
            resolver,
            stripe,
            fonts,
            node_token,
            ingest_token,
            envelope,
        })))
    }

    /// The collector, where one is configured.
    pub fn stripe(&self) -> Result<&Stripe> {
        stripe::configured(self.stripe.as_ref())
    }

    /// What seals the keys of client certificates.
    pub fn seals(&self) -> Seals<'_> {
        Seals { own: &self.sealer, proxies: &self.envelope }
    }
}

/// What a proxy shows to be let in: as configured, else `node.token` in the data directory, which is
/// made on first use (mode 0600).
pub fn node_token(config: &Config) -> anyhow::Result<Secret<String>> {
    match given(&config.nodes.token) {
        Some(token) => Ok(token.clone()),
        None => files::secret_or_create(&config.server.data_dir.join("node.token"), random::token),
    }
}

/// What lets in those who report what proxies don't see: as configured, else `ingest.token` in the
/// data directory, which is made on first use (mode 0600).
fn ingest_token(config: &Config) -> anyhow::Result<Secret<String>> {
    match given(&config.metering.ingest_token) {
        Some(token) => Ok(token.clone()),
        None => {
            files::secret_or_create(&config.server.data_dir.join("ingest.token"), random::token)
        }
    }
}
