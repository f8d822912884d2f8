//! The document: JSON into statements, each element checked where it stands.
//!
//! A statement without an action or a resource would have no effect, and a Deny that has none is a trap, so it is refused (AWS KMS does
//! since August 2025). So is every element, operator, condition key and policy variable that is not obeyed.

use serde_json::Value;

use super::condition::Condition;
use super::pattern::Pattern;
use super::principal::{self, Principal};
use super::{Effect, Malformed, Matcher, Statement, json};

const VERSION: &str = "2012-10-17";
/// The first version of the language, in which `${` is text like any other.
const FIRST_VERSION: &str = "2008-10-17";

type Read<T> = Result<T, Malformed>;

/// The statements of a document.
pub fn statements(text: &str) -> Read<Vec<Statement>> {
    let document = json::parse(text)?;
    let mut document = Element { place: String::new(), value: &document }.members()?;
    let version = match document.take("Version") {
        None => FIRST_VERSION,
        Some(version) => match version.text()? {
            known if [VERSION, FIRST_VERSION].contains(&known) => known,
            _ => return version.wrong(format!("it is neither {VERSION:?} nor {FIRST_VERSION:?}")),
        },
    };
    if let Some(id) = document.take("Id") {
        id.text()?;
    }
    let statements = document.required("Statement")?;
    document.finish()?;
    let mut names = Vec::new();
    statements.one_or_more()?.iter().map(|statement| read(statement, version, &mut names)).collect()
}

fn read<'v>(statement: &Element<'v>, version: &str, names: &mut Vec<&'v str>) -> Read<Statement> {
    let mut members = statement.members()?;
    if let Some(sid) = members.take("Sid") {
        let name = sid.text()?;
        if names.contains(&name) {
            return sid.wrong("another statement has the same Sid".to_owned());
        }
        names.push(name);
    }
    let effect = members.required("Effect")?;
    let effect = match effect.text()? {
        "Allow" => Effect::Allow,
        "Deny" => Effect::Deny,
        _ => return effect.wrong("it is neither Allow nor Deny".to_owned()),
    };
    let principals = members.one_of("Principal", "NotPrincipal", principals)?;
    let actions = members.one_of("Action", "NotAction", |element| patterns(element, action))?;
    let variables = version == VERSION;
    let resources = members
        .one_of("Resource", "NotResource", |element| patterns(element, |item| resource(item, variables)))?;
    let conditions = match members.take("Condition") {
        Some(element) => conditions(&element, variables)?,
        None => Vec::new(),
    };
    members.finish()?;
    Ok(Statement { effect, principals, actions, resources, conditions })
}

fn principals(element: &Element<'_>) -> Read<Vec<Principal>> {
    if element.value.is_string() {
        return match element.text()? {
            "*" => Ok(vec![Principal::Anyone]),
            _ => element.wrong("it is \"*\", or an object such as {\"AWS\": ARN}".to_owned()),
        };
    }
    let mut all = Vec::new();
    for (kind, element) in element.members()?.each() {
        for item in element.one_or_more()? {
            let name = item.text()?;
            all.push(match kind {
                "AWS" if name == "*" => Principal::Anyone,
                "AWS" if principal::is_account(name) => Principal::Account(name.to_owned()),
                "AWS" => match Principal::parse(name) {
                    Some(principal) => principal,
                    None => return item.wrong(format!("{name:?} is an invalid principal")),
                },
                "Service" | "Federated" => Principal::Service,
                _ => return element.wrong(format!("{kind:?} is no kind of principal")),
            });
        }
    }
    if all.is_empty() {
        return element.wrong("it names no principal".to_owned());
    }
    Ok(all)
}

fn patterns(element: &Element<'_>, check: impl Fn(&Element<'_>) -> Read<()>) -> Read<Vec<Pattern>> {
    let read = |item: &Element<'_>| {
        check(item)?;
        Ok(Pattern::new(item.text()?))
    };
    element.one_or_more()?.iter().map(read).collect()
}

fn action(item: &Element<'_>) -> Read<()> {
    let text = item.text()?;
    let is_prefix = |prefix: &str| {
        !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"*?".contains(&byte))
    };
    let fits =
        text == "*" || text.split_once(':').is_some_and(|(prefix, name)| is_prefix(prefix) && is_name(name));
    if fits { Ok(()) } else { item.wrong(format!("{text:?} is no action such as \"kms:Decrypt\"")) }
}

fn resource(item: &Element<'_>, variables: bool) -> Read<()> {
    let text = item.text()?;
    if text != "*" && !text.starts_with("arn:") {
        return item.wrong(format!("{text:?} is neither \"*\" nor an ARN"));
    }
    no_variable(item, text, variables)
}

fn conditions(element: &Element<'_>, variables: bool) -> Read<Vec<Condition>> {
    let mut all = Vec::new();
    for (operator, keys) in element.members()?.each() {
        for (key, values) in keys.members()?.each() {
            let mut texts = Vec::new();
            for value in values.one_or_more()? {
                let text = value.scalar()?;
                no_variable(&value, &text, variables)?;
                texts.push(text);
            }
            all.push(Condition::new(operator, key, texts).or_else(|what| values.wrong(what))?);
        }
    }
    Ok(all)
}

fn no_variable(item: &Element<'_>, text: &str, variables: bool) -> Read<()> {
    if variables && text.contains("${") {
        return item.wrong("policy variables are not supported".to_owned());
    }
    Ok(())
}

/// A value, and where in the document it stands.
struct Element<'v> {
    place: String,
    value: &'v Value,
}

impl<'v> Element<'v> {
    fn wrong<T>(&self, what: String) -> Read<T> {
        Err(Malformed { place: self.place.clone(), what })
    }

    fn text(&self) -> Read<&'v str> {
        match self.value {
            Value::String(text) => Ok(text),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                self.wrong("it is not a text".to_owned())
            }
        }
    }

    /// A text, a number or a truth value, as text.
    fn scalar(&self) -> Read<String> {
        match self.value {
            Value::String(text) => Ok(text.clone()),
            Value::Bool(value) => Ok(value.to_string()),
            Value::Number(number) => Ok(number.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => {
                self.wrong("it is no text, number or truth value".to_owned())
            }
        }
    }

    /// The items of a list that is not empty, or the value itself.
    fn one_or_more(&self) -> Read<Vec<Element<'v>>> {
        match self.value {
            Value::Array(items) if items.is_empty() => self.wrong("the list is empty".to_owned()),
            Value::Array(items) => {
                let place = |at| format!("{}[{at}]", self.place);
                Ok(items.iter().enumerate().map(|(at, value)| Element { place: place(at), value }).collect())
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
                Ok(vec![Element { place: self.place.clone(), value: self.value }])
            }
        }
    }

    fn members(&self) -> Read<Members<'v>> {
        match self.value {
            Value::Object(left) => Ok(Members { place: self.place.clone(), left: left.iter().collect() }),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                self.wrong("it is not an object".to_owned())
            }
        }
    }
}

/// The members of an object that are still to be read.
struct Members<'v> {
    place: String,
    left: Vec<(&'v String, &'v Value)>,
}

impl<'v> Members<'v> {
    fn take(&mut self, name: &str) -> Option<Element<'v>> {
        let at = self.left.iter().position(|(member, _)| *member == name)?;
        let (_, value) = self.left.remove(at);
        Some(self.element(name, value))
    }

    fn required(&mut self, name: &str) -> Read<Element<'v>> {
        self.take(name).ok_or_else(|| self.malformed(format!("{name} is missing")))
    }

    /// One of two elements that exclude each other; the second one means none of what it lists.
    fn one_of<T>(
        &mut self,
        name: &str,
        negated: &str,
        read: impl Fn(&Element<'_>) -> Read<Vec<T>>,
    ) -> Read<Matcher<T>> {
        match (self.take(name), self.take(negated)) {
            (Some(element), None) => Ok(Matcher { listed: read(&element)?, negated: false }),
            (None, Some(element)) => Ok(Matcher { listed: read(&element)?, negated: true }),
            (Some(_), Some(_)) => Err(self.malformed(format!("{name} and {negated} exclude each other"))),
            (None, None) => Err(self.malformed(format!("{name} is missing"))),
        }
    }

    fn each(self) -> impl Iterator<Item = (&'v str, Element<'v>)> {
        let place = self.place;
        self.left
            .into_iter()
            .map(move |(name, value)| (name.as_str(), Element { place: join(&place, name), value }))
    }

    fn finish(self) -> Read<()> {
        match self.left.first() {
            Some((name, _)) => {
                Err(Malformed { place: join(&self.place, name), what: "there is no such element".to_owned() })
            }
            None => Ok(()),
        }
    }

    fn element(&self, name: &str, value: &'v Value) -> Element<'v> {
        Element { place: join(&self.place, name), value }
    }

    fn malformed(&self, what: String) -> Malformed {
        Malformed { place: self.place.clone(), what }
    }
}

fn join(place: &str, name: &str) -> String {
    if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") }
}
