//! The demo: an account, a workspace on the free plan, and an application served by the built-in
//! echo. Made once; found again by the quickstart file and the account that it names.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use authsome_control_plane::actor::{Actor, Permission};
use authsome_control_plane::app::App;
use authsome_control_plane::applications::{self, NewApplication, Status};
use authsome_control_plane::db::Topic;
use authsome_control_plane::identity::user::NewUser;
use authsome_control_plane::identity::{Device, admin, session, user};
use authsome_control_plane::serve::ControlPlane;
use authsome_control_plane::workspaces::{self, NewWorkspace};
use authsome_control_plane::{error, keys, random};
use authsome_proxy::Proxy;
use authsome_shared::id::ApplicationId;
use authsome_shared::secret::Secret;
use tokio::time::timeout;

use super::quickstart::Quickstart;

const EMAIL: &str = "demo@example.com";

/// How long the demo may take to become active before the start goes on without it.
const PATIENCE: Duration = Duration::from_secs(30);

/// The demo of this data directory, made when there is none, with this run's addresses.
pub async fn open(
    control: &ControlPlane,
    proxy: &Proxy,
    data_dir: &Path,
) -> anyhow::Result<Quickstart> {
    let app = &control.app;
    let url = |address: SocketAddr| format!("http://{address}");
    let addresses = Addresses {
        control: url(control.address()),
        proxy: url(proxy.address()),
        proxy_admin: url(proxy.admin_address()),
    };
    let quickstart = match find(app, data_dir).await? {
        Some(found) => addresses.put(found),
        None => make(app, addresses).await?,
    };
    if timeout(PATIENCE, active(app, &quickstart.application_id)).await.is_err() {
        tracing::warn!("the demo application is not active yet; it is being tried again");
    }
    Ok(quickstart)
}

struct Addresses {
    control: String,
    proxy: String,
    proxy_admin: String,
}

impl Addresses {
    fn put(self, found: Quickstart) -> Quickstart {
        let Self { control, proxy, proxy_admin } = self;
        Quickstart { control_url: control, proxy_url: proxy, proxy_admin_url: proxy_admin, ..found }
    }
}

/// The demo that the quickstart file names, if this database holds it.
async fn find(app: &App, data_dir: &Path) -> anyhow::Result<Option<Quickstart>> {
    let Some(found) = Quickstart::read(data_dir) else { return Ok(None) };
    let mut tx = app.db.read().await?;
    let account = user::by_email(&mut tx, &found.email).await?;
    Ok(account.map(|_| found))
}

async fn make(app: &App, addresses: Addresses) -> anyhow::Result<Quickstart> {
    let password = Secret::new(random::password());
    let (actor, email) = sign_up(app, &password).await?;

    let mut tx = app.db.write().await?;
    admin::set(&mut tx, &email, true, "cli").await?;
    let new = NewWorkspace { name: "Demo".into(), ..NewWorkspace::default() };
    let workspace = workspaces::create(&mut tx, &actor, new).await?;
    let (access, workspace) =
        workspaces::access(&mut tx, &actor, &workspace.id, Permission::ManageKeys).await?;
    let new = NewApplication { name: "Demo".into(), ..NewApplication::default() };
    let application = applications::create(&mut tx, &access, &workspace, new, app.seals()).await?;
    let [public, secret] = keys::first_keys();
    let public = keys::issue(&mut tx, &access, &application, public).await?;
    let secret = keys::issue(&mut tx, &access, &application, secret).await?;
    tx.commit().await?;

    Ok(Quickstart {
        control_url: addresses.control,
        proxy_url: addresses.proxy,
        proxy_admin_url: addresses.proxy_admin,
        email,
        password,
        workspace_id: workspace.id,
        application_id: application.id,
        public_key: public.clear,
        secret_key: secret.clear,
    })
}

/// A new account: the usual address, or another when a lost quickstart file left that one behind.
async fn sign_up(app: &App, password: &Secret<String>) -> anyhow::Result<(Actor, String)> {
    for n in 1..100 {
        let email = match n {
            1 => EMAIL.to_owned(),
            n => EMAIL.replace('@', &format!("{n}@")),
        };
        let new = NewUser { email: email.clone(), password: password.clone(), name: "Demo".into() };
        match session::register(app, new, &Device::default()).await {
            Ok((tx, sign_in)) => {
                tx.commit().await?;
                let actor = session::authenticate(app, sign_in.token.expose()).await?;
                return Ok((actor, email));
            }
            Err(error::Error::Conflict(..)) => {}
            Err(error) => return Err(error).context("making the demo account"),
        }
    }
    bail!("every demo address is taken: remove what you don't need, or use a new data directory")
}

/// Waits until the application has been provisioned, one way or the other.
async fn active(app: &App, id: &ApplicationId) -> anyhow::Result<()> {
    let mut changes = app.db.subscribe(Topic::Revisions);
    loop {
        changes.borrow_and_update();
        let mut tx = app.db.read().await?;
        let status = applications::status_of(&mut tx, id).await?;
        drop(tx);
        if status != Some(Status::Provisioning) {
            return Ok(());
        }
        changes.changed().await.context("waiting for the demo application")?;
    }
}
