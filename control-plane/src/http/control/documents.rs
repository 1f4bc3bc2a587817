//! Documents to download: as PDF unless the caller asks for HTML.

use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::billing::document::{Document, html, pdf};
use crate::error::{Error, Result};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = DocumentFormat)]
pub enum Format {
    Pdf,
    Html,
}

impl Format {
    fn extension(self) -> &'static str {
        match self {
            Self::Pdf => "pdf",
            Self::Html => "html",
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DownloadParams {
    /// Instead of what `Accept` says: `pdf`, unless it takes `text/html` and no PDF.
    #[param(inline)]
    format: Option<Format>,
}

impl DownloadParams {
    /// Browsers take everything, and are given the PDF.
    pub fn chosen(&self, headers: &HeaderMap) -> Format {
        let accepted: Vec<String> = headers
            .get_all(header::ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter(|part| !part.replace(' ', "").to_ascii_lowercase().ends_with(";q=0"))
            .map(|part| part.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
            .collect();
        let takes = |kinds: &[&str]| accepted.iter().any(|kind| kinds.contains(&kind.as_str()));
        self.format.unwrap_or(
            if takes(&["text/html", "text/*"])
                && !takes(&["application/pdf", "application/*", "*/*"])
            {
                Format::Html
            } else {
                Format::Pdf
            },
        )
    }
}

/// The answer that is the document.
pub async fn answer(app: &App, document: Document, format: Format) -> Result<Response> {
    let name = document.file_name(format.extension());
    let (kind, disposition, policy, body) = match format {
        Format::Pdf => {
            let fonts = app.clone();
            let file = tokio::task::spawn_blocking(move || pdf(&document, &fonts.fonts));
            let file = file.await.map_err(Error::internal)?;
            ("application/pdf", format!("attachment; filename=\"{name}\""), NOTHING, file)
        }
        Format::Html => {
            let page = html::render(&document).into_bytes();
            let disposition = format!("inline; filename=\"{name}\"");
            ("text/html; charset=utf-8", disposition, html::POLICY.as_str(), page)
        }
    };
    let headers = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::CONTENT_DISPOSITION, disposition),
        (header::CONTENT_SECURITY_POLICY, policy.to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::REFERRER_POLICY, "no-referrer".to_owned()),
        (header::CACHE_CONTROL, "private, no-cache".to_owned()),
    ];
    Ok((headers, body).into_response())
}

const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_takes_html_and_no_pdf_gets_html() {
        use Format::{Html, Pdf};
        for (accept, format) in [
            ("", Pdf),
            ("*/*", Pdf),
            ("text/html", Html),
            ("text/html;level=1, application/json", Html),
            ("TEXT/HTML; q=0.5", Html),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Pdf),
            ("text/html, application/pdf;q=0.1", Pdf),
            ("text/html, application/pdf; q=0", Html),
            ("text/html;q=0", Pdf),
            ("nonsense", Pdf),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            assert_eq!(DownloadParams { format: None }.chosen(&headers), format, "{accept}");
            let asked = DownloadParams { format: Some(Html) };
            assert_eq!(asked.chosen(&headers), Html, "{accept}");
        }
    }
}
