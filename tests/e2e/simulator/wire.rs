//! What every fake has in common: requests, replies, and errors as Google's JSON APIs write them.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use reqwest::Url;
use serde_json::{Value, json};

pub struct Request {
    pub method: String,
    pub target: String,
    pub authorization: String,
    pub body: Bytes,
    /// Who calls, where several processes share the world.
    pub caller: Option<Caller>,
}

/// A process, and which of the requests that it works on makes the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Caller {
    pub process: usize,
    pub request: usize,
}

impl Request {
    pub fn json(&self) -> Result<Value, Reply> {
        serde_json::from_slice(&self.body).map_err(|_| refusal(400, "Invalid JSON payload received."))
    }

    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The query's parameters, each with all its values.
    pub fn parameters(&self) -> BTreeMap<String, Vec<String>> {
        let url = Url::parse(&format!("http://simulator{}", self.target)).unwrap();
        let mut parameters: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in url.query_pairs() {
            parameters.entry(name.into_owned()).or_default().push(value.into_owned());
        }
        parameters
    }

    pub fn first(&self, name: &str) -> Option<String> {
        self.parameters().remove(name)?.into_iter().next()
    }

    pub fn number(&self, name: &str) -> Option<usize> {
        self.first(name)?.trim_start_matches('p').parse().ok()
    }
}

#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub body: String,
    pub content_type: &'static str,
    /// Seconds, as the header of this name.
    pub retry_after: Option<u64>,
}

impl Reply {
    pub fn json(body: &Value) -> Self {
        Self {
            status: 200,
            body: body.to_string(),
            content_type: "application/json; charset=UTF-8",
            retry_after: None,
        }
    }

    pub fn text(status: u16, body: &str) -> Self {
        Self { status, body: body.to_owned(), content_type: "text/plain; charset=utf-8", retry_after: None }
    }

    /// The page of Google's front end for a path that it keeps to itself.
    pub fn front_end() -> Self {
        let body = "<!DOCTYPE html>\n<html lang=en>\n  <title>Error 404 (Not Found)!!1</title>\n  <p><b>404.</b> \
                    <ins>That’s an error.</ins>\n  <p>The requested URL was not found on this server.";
        Self { content_type: "text/html; charset=UTF-8", ..Self::text(404, body) }
    }

    pub fn retry_after(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap();
        let mut response = (status, [(header::CONTENT_TYPE, self.content_type)], self.body).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// An error in Google's form, with the status name that usually goes with the code.
pub fn refusal(code: u16, message: impl Into<String>) -> Reply {
    let status = match code {
        400 => "INVALID_ARGUMENT",
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        409 => "ABORTED",
        429 => "RESOURCE_EXHAUSTED",
        500 => "INTERNAL",
        502 | 503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        _ => "UNKNOWN",
    };
    refusal_as(code, status, message)
}

pub fn refusal_as(code: u16, status: &str, message: impl Into<String>) -> Reply {
    let error = json!({"code": code, "message": message.into(), "status": status});
    Reply { status: code, ..Reply::json(&json!({ "error": error })) }
}

pub fn permission_denied(permission: &str) -> Reply {
    let resource = "projects/demo-project";
    let message =
        format!("Permission '{permission}' denied on resource '{resource}' (or resource may not exist).");
    let details = json!([{
        "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "IAM_PERMISSION_DENIED",
        "domain": "iam.googleapis.com", "metadata": {"permission": permission, "resource": resource},
    }]);
    let error = json!({"code": 403, "message": message, "status": "PERMISSION_DENIED", "details": details});
    Reply { status: 403, ..Reply::json(&json!({ "error": error })) }
}
