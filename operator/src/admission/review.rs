//! The AdmissionReview that the API server sends, and the answer it wants. Pure.
//!
//! The object stays raw JSON: a typed one would lose what this program does not know.

use json_patch::Patch;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The only version that is spoken.
pub(super) const API_VERSION: &str = "admission.k8s.io/v1";

/// What the API server posts.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Review {
    /// `admission.k8s.io/v1`.
    pub api_version: String,
    /// Absent only in a review that nobody should send.
    pub request: Option<Request>,
}

/// One request to the API server, seen by admission.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Request {
    /// Comes back in the answer.
    pub uid: String,
    /// What is written.
    pub kind: Kind,
    /// Empty where the server makes the name.
    pub name: String,
    /// Empty for objects of the cluster.
    pub namespace: String,
    /// `CREATE`, `UPDATE`, `DELETE` or `CONNECT`.
    pub operation: String,
    /// Null on DELETE.
    pub object: Value,
    /// Null on CREATE.
    pub old_object: Value,
    /// Nothing outside the answer may come of a dry run.
    pub dry_run: bool,
}

/// Group and kind of what is written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Kind {
    /// Empty for the core group.
    #[serde(default)]
    pub group: String,
    /// Such as `Pod`.
    pub kind: String,
}

/// What admission decides.
#[derive(Debug)]
pub(super) enum Answer {
    /// Let it in as it is, or with a patch.
    Allowed {
        /// Empty = unchanged.
        patch: Option<Patch>,
        /// Shown to whoever made the request.
        warnings: Vec<String>,
    },
    /// Do not let it in.
    Denied {
        /// Names object, field and what to change.
        message: String,
    },
}

impl Answer {
    /// Let it in, unchanged.
    #[must_use]
    pub(super) fn allowed() -> Self {
        Self::Allowed { patch: None, warnings: Vec::new() }
    }
}

/// An answer as the API server reads it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Response {
    uid: String,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Status {
    code: u16,
    reason: &'static str,
    message: String,
}

/// What goes back in one body.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReviewResponse {
    api_version: &'static str,
    kind: &'static str,
    response: Response,
}

impl ReviewResponse {
    /// Dresses an answer. Fails only if the patch cannot be written as JSON.
    pub(super) fn new(uid: String, answer: Answer) -> Result<Self, serde_json::Error> {
        let response = match answer {
            Answer::Allowed { patch, warnings } => {
                let patch = patch.as_ref().map(serde_json::to_vec).transpose()?;
                Response {
                    uid,
                    allowed: true,
                    status: None,
                    patch_type: patch.is_some().then_some("JSONPatch"),
                    patch: patch
                        .map(|bytes| base64::Engine::encode(&base64::prelude::BASE64_STANDARD, bytes)),
                    warnings: warnings.into_iter().map(shortened).collect(),
                }
            }
            Answer::Denied { message } => Response {
                uid,
                allowed: false,
                status: Some(Status { code: 422, reason: "Invalid", message }),
                patch: None,
                patch_type: None,
                warnings: Vec::new(),
            },
        };
        Ok(Self { api_version: API_VERSION, kind: "AdmissionReview", response })
    }
}

/// The API server cuts longer warnings, and drops all of them past 4096 bytes.
const WARNING_CHARACTERS_MAX: usize = 256;

fn shortened(warning: String) -> String {
    if warning.chars().count() <= WARNING_CHARACTERS_MAX {
        return warning;
    }
    warning.chars().take(WARNING_CHARACTERS_MAX.saturating_sub(1)).chain(['…']).collect()
}
