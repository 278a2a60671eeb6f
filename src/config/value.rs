//! One value at a time: from the text of a variable to what it means.

use std::fs;

use axum::http::Uri;
use reqwest::Url;
use serde_json::Value;

use super::check::{ConfigError, refuse};
use super::{DEFAULT_PORT, DEFAULT_RUN_URL, PORT, RUN_URL, SERVICE_ACCOUNT, TASKS_QUEUE};

pub(super) fn given(value: Option<String>) -> Option<String> {
    value.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

fn given_or(value: &str, default: &str) -> String {
    given(Some(value.to_owned())).unwrap_or_else(|| default.to_owned())
}

pub(super) fn port(text: &str) -> Result<u16, ConfigError> {
    let text = given_or(text, DEFAULT_PORT);
    text.parse().or_else(|_| refuse(format!("{PORT} must be a port number up to 65535, not {text:?}")))
}

pub(super) fn base_url(variable: &str, text: &str, default: &str) -> Result<String, ConfigError> {
    let text = given_or(text, default);
    match http_url(&text) {
        Some(url) if is_base(&url) => Ok(url.as_str().trim_end_matches('/').to_owned()),
        Some(_) => refuse(format!("{variable} must be a URL without a user, a query and a fragment")),
        None => refuse(format!("{variable} must be an http or https URL, not {text:?}")),
    }
}

/// The one base URL with a placeholder, which is checked as if it were filled in.
pub(super) fn run_url(text: &str) -> Result<String, ConfigError> {
    let text = given_or(text, DEFAULT_RUN_URL);
    let example = text.replace("{region}", "asia-northeast1");
    if example.contains(['{', '}']) {
        return refuse(format!("{RUN_URL} may have {{region}} as its only placeholder, and is {text:?}"));
    }
    base_url(RUN_URL, &example, "")?;
    Ok(text.trim_end_matches('/').to_owned())
}

pub(super) fn http_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    // The parser reads over line breaks within the text; nobody means them.
    let meant = matches!(url.scheme(), "http" | "https") && !text.contains(char::is_whitespace);
    meant.then_some(url)
}

fn is_base(url: &Url) -> bool {
    let anonymous = url.username().is_empty() && url.password().is_none();
    anonymous && url.query().is_none() && url.fragment().is_none()
}

pub(super) fn is_header_text(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_graphic())
}

pub(super) fn queue(text: String) -> Result<String, ConfigError> {
    let parts: Vec<&str> = text.split('/').collect();
    let is_name = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':'))
    };
    match parts[..] {
        ["projects", project, "locations", location, "queues", queue]
            if [project, location, queue].into_iter().all(is_name) =>
        {
            Ok(text)
        }
        _ => {
            refuse(format!("{TASKS_QUEUE} must have the form projects/P/locations/L/queues/Q, not {text:?}"))
        }
    }
}

pub(super) fn email(variable: &str, text: String) -> Result<String, ConfigError> {
    let parts: Vec<&str> = text.split('@').collect();
    match parts[..] {
        [name, host] if !name.is_empty() && !host.is_empty() && is_header_text(&text) => Ok(text),
        _ if variable == SERVICE_ACCOUNT => {
            refuse(format!("{SERVICE_ACCOUNT} must be a service account's e-mail address, not {text:?}"))
        }
        _ => {
            refuse(format!("{variable} must be e-mail addresses, separated by commas, and {text:?} is none"))
        }
    }
}

/// The service account in the key file, if `gcp_auth` can work with it. It says little when it cannot, and it panics at the first token
/// when `token_uri` is no URI.
pub(super) fn key_file(path: &str) -> Result<String, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("the file cannot be read: {error}"))?;
    // The parser's own message may quote the file, which holds a private key.
    let key: Value = serde_json::from_str(&text).map_err(|_| "the file is not JSON".to_owned())?;
    for field in ["private_key", "client_email", "token_uri"] {
        if key[field].as_str().is_none_or(str::is_empty) {
            return Err(format!("the file has no `{field}`: it must be the key of a service account"));
        }
    }
    let token_uri = key["token_uri"].as_str().and_then(|uri| uri.parse::<Uri>().ok());
    let usable = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some();
    match token_uri.as_ref().is_some_and(usable) {
        true => Ok(key["client_email"].as_str().unwrap_or_default().to_owned()),
        false => Err("its `token_uri` must be an http or https URL".to_owned()),
    }
}
