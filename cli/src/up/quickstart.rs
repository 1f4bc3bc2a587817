//! `quickstart.json`, and the lines that a newcomer pastes.

use std::path::{Path, PathBuf};

use anyhow::Context;
use authsome_control_plane::files;
use authsome_shared::id::{ApplicationId, WorkspaceId};
use authsome_shared::secret::Secret;
use serde::{Deserialize, Serialize};

/// Where everything is, and how to get in (design section 13).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Quickstart {
    pub control_url: String,
    pub proxy_url: String,
    pub proxy_admin_url: String,
    pub email: String,
    pub password: Secret<String>,
    pub workspace_id: WorkspaceId,
    pub application_id: ApplicationId,
    pub public_key: Secret<String>,
    pub secret_key: Secret<String>,
}

fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("quickstart.json")
}

impl Quickstart {
    /// What an earlier run wrote, if it can be read.
    pub fn read(data_dir: &Path) -> Option<Self> {
        let text = std::fs::read(path(data_dir)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    pub fn write(&self, data_dir: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_vec_pretty(self).context("writing quickstart.json")?;
        files::write_private(&path(data_dir), &text)
    }

    /// Prints the lines to paste, each complete in itself.
    pub fn print(&self, data_dir: &Path) {
        let Self { control_url, proxy_url, email, workspace_id, application_id, .. } = self;
        let password = self.password.expose();
        let secret = self.secret_key.expose();
        let file = path(data_dir);
        let file = file.display();
        println!(
            r#"
AuthSome Cloud is up.

  control plane   {control_url}   (API description: {control_url}/control/v1/openapi.json)
  proxy           {proxy_url}
  signed up as    {email} / {password}
  all of this     {file}

Call the demo API, an echo, through the proxy:

  curl -i -H "Authorization: Bearer {secret}" {proxy_url}/v1/{application_id}/hello

See its limit hold, 10 requests a second on the free plan:

  seq 30 | xargs -P 30 -I{{}} curl -s -o /dev/null -w '%{{http_code}}\n' -H "Authorization: Bearer {secret}" {proxy_url}/v1/{application_id}/hello | sort | uniq -c

Sign in, and read exactly how many calls were made:

  TOKEN=$(curl -s {control_url}/control/v1/auth/login -H 'Content-Type: application/json' -d '{{"email":"{email}","password":"{password}"}}' | sed 's/.*"token":"\([^"]*\)".*/\1/')
  curl -s -H "Authorization: Bearer $TOKEN" {control_url}/control/v1/workspaces/{workspace_id}/usage

Make a key, then revoke it by the id in the answer:

  curl -s -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' -d '{{"name":"My key","type":"secret"}}' {control_url}/control/v1/applications/{application_id}/keys
  curl -s -X DELETE -H "Authorization: Bearer $TOKEN" "{control_url}/control/v1/applications/{application_id}/keys/KEY_ID?wait=applied"

Put your own API behind it:

  curl -s -X PATCH -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' -d '{{"config":{{"upstream":{{"urls":["http://127.0.0.1:3000"]}}}}}}' {control_url}/control/v1/applications/{application_id}

Stop with Ctrl-C; the next start keeps everything.
"#
        );
    }
}
