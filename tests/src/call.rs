//! A customer's calls through the proxy.

use http::Method;
use reqwest::{Client, RequestBuilder};

use crate::api::{Answer, http_client};
use crate::urls::Urls;

/// One application and one key.
#[derive(Clone)]
pub struct Caller {
    http: Client,
    urls: Urls,
    application: String,
    key: String,
}

impl Caller {
    pub fn new(urls: &Urls, application: &str, key: &str) -> Self {
        Self {
            http: http_client(),
            urls: urls.clone(),
            application: application.to_owned(),
            key: key.to_owned(),
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}/v1/{}{path}", self.urls.proxy(), self.application)
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.url(path)).bearer_auth(&self.key)
    }

    /// A GET that must be answered, whatever the answer.
    pub async fn get(&self, path: &str) -> Answer {
        self.try_get(path).await.unwrap_or_else(|error| panic!("GET {path}: {error:?}"))
    }

    pub async fn try_get(&self, path: &str) -> Result<Answer, reqwest::Error> {
        Answer::read(self.request(Method::GET, path).send().await?).await
    }
}
