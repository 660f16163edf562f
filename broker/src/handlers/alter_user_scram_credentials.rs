//! AlterUserScramCredentials: sets and removes users of the table, those of one request all at once.

use std::collections::{BTreeMap, BTreeSet};

use kafka_wire::{
    ErrorCode,
    messages::{
        AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse,
        alter_user_scram_credentials::{
            AlterUserScramCredentialsResult, ScramCredentialDeletion, ScramCredentialUpsertion,
        },
    },
};

use crate::{
    access::Operation,
    broker::Context,
    partition::Refusal,
    sasl::{
        scram::{Credential, Hash, ITERATIONS_MAX, ITERATIONS_MIN},
        users::Alteration,
    },
};

const NAME_BYTES_MAX: usize = 1_000;
const SALT_BYTES_MAX: usize = 1_024;

/// One change.
enum Wanted {
    Deletion(ScramCredentialDeletion),
    Upsertion(ScramCredentialUpsertion),
}

impl Wanted {
    fn names(&self) -> (String, i8) {
        match self {
            Self::Deletion(it) => (it.name.clone(), it.mechanism),
            Self::Upsertion(it) => (it.name.clone(), it.mechanism),
        }
    }
}

pub(crate) async fn handle(
    context: Context,
    request: AlterUserScramCredentialsRequest,
    _: i16,
) -> AlterUserScramCredentialsResponse {
    let allowed = context.allows_cluster(Operation::Alter);
    let mut outcomes: BTreeMap<String, Option<Refusal>> = BTreeMap::new();
    let mut alterations: Vec<Alteration> = Vec::new();
    let mut seen = BTreeSet::new();
    let deletions = request.deletions.into_iter().map(Wanted::Deletion);
    for wanted in deletions.chain(request.upsertions.into_iter().map(Wanted::Upsertion)) {
        let (user, mechanism) = wanted.names();
        // Making a credential costs: nobody has it made who may not have it.
        let outcome = if !allowed {
            Err(ErrorCode::ClusterAuthorizationFailed.into())
        } else if !seen.insert((user.clone(), mechanism)) {
            Err(Refusal::new(ErrorCode::DuplicateResource, "the user's credential is in the request twice"))
        } else {
            match wanted {
                Wanted::Deletion(deletion) => delete(&context, deletion),
                Wanted::Upsertion(upsertion) => upsert(&context, upsertion),
            }
        };
        let so_far = outcomes.entry(user).or_default();
        match outcome {
            Ok(alteration) => alterations.push(alteration),
            Err(refusal) => *so_far = Some(refusal),
        }
    }
    // A user with one wrong change keeps all as it was.
    alterations.retain(|(user, ..)| outcomes.get(user).is_none_or(Option::is_none));
    if let Err(refusal) = store(&context, alterations).await {
        for outcome in outcomes.values_mut() {
            outcome.get_or_insert_with(|| refusal.clone());
        }
    }
    let results = outcomes.into_iter().map(|(user, refusal)| AlterUserScramCredentialsResult {
        user,
        error_code: refusal.as_ref().map_or(ErrorCode::None, |refusal| refusal.code).code(),
        error_message: refusal.and_then(|refusal| refusal.message),
    });
    AlterUserScramCredentialsResponse { results: results.collect(), ..Default::default() }
}

async fn store(context: &Context, alterations: Vec<Alteration>) -> Result<(), Refusal> {
    if alterations.is_empty() {
        return Ok(());
    }
    match context.broker.sasl.users.alter(alterations).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Refusal::new(ErrorCode::PolicyViolation, "there would be too many users")),
        Err(error) => Err(Refusal::new(ErrorCode::UnknownServerError, crate::error_text(&error))),
    }
}

fn hash(mechanism: i8) -> Result<Hash, Refusal> {
    let unknown = || Refusal::new(ErrorCode::UnsupportedSaslMechanism, "the mechanism must be 1 or 2");
    Hash::from_code(mechanism).ok_or_else(unknown)
}

fn delete(context: &Context, deletion: ScramCredentialDeletion) -> Result<Alteration, Refusal> {
    let hash = hash(deletion.mechanism)?;
    if context.broker.sasl.users.is_in_table(&deletion.name, hash) {
        return Ok((deletion.name, hash, None));
    }
    Err(Refusal::new(ErrorCode::ResourceNotFound, "there is no such credential of this user"))
}

fn upsert(context: &Context, upsertion: ScramCredentialUpsertion) -> Result<Alteration, Refusal> {
    let unacceptable = |text: String| Refusal::new(ErrorCode::UnacceptableCredential, text);
    let hash = hash(upsertion.mechanism)?;
    let name = upsertion.name;
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(unacceptable("a user needs a name of 1 to 1000 bytes".to_owned()));
    }
    if !(ITERATIONS_MIN..=ITERATIONS_MAX).contains(&upsertion.iterations) {
        return Err(unacceptable(format!("iterations must be {ITERATIONS_MIN} to {ITERATIONS_MAX}")));
    }
    if upsertion.salt.is_empty() || upsertion.salt.len() > SALT_BYTES_MAX {
        return Err(unacceptable("a salt of 1 to 1024 bytes is needed".to_owned()));
    }
    if upsertion.salted_password.len() != hash.bytes() {
        return Err(unacceptable(format!("the salted password must have {} bytes", hash.bytes())));
    }
    if context.broker.sasl.users.is_listed(&name) {
        return Err(unacceptable("the user is in the broker's users file: change it there".to_owned()));
    }
    let salt = upsertion.salt.to_vec();
    let credential = Credential::from_salted(hash, &upsertion.salted_password, salt, upsertion.iterations);
    Ok((name, hash, Some(credential)))
}
