//! An issue: a user's object is wrong, or works otherwise than it reads. Names the object, the
//! field and the mend, and is data: a condition, an event or a line of `xsteer check` is made of it.

use std::fmt;

/// Names an object; an empty namespace means cluster-scoped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectRef {
    /// Kind as in the manifest; `File` for a file that can't be read.
    pub kind: String,
    /// Namespace, or empty.
    pub namespace: String,
    /// Name, or `(no name)`.
    pub name: String,
}

impl ObjectRef {
    /// Names a cluster-scoped object.
    #[must_use]
    pub fn cluster(kind: &str, name: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            namespace: String::new(),
            name: name.to_owned(),
        }
    }

    /// Names an object in a namespace.
    #[must_use]
    pub fn namespaced(kind: &str, namespace: &str, name: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{}/{}", self.kind, self.name)
        } else {
            write!(f, "{}/{}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// How bad an issue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// The object is refused.
    Error,
    /// The object is used, but probably not as meant.
    Warning,
}

/// Why; the label is the `reason` of a condition and of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IssueReason {
    /// A key that the kind does not have.
    UnknownField,
    /// A required field is absent.
    MissingField,
    /// `null` where a value belongs.
    NullValue,
    /// A value of the wrong type.
    WrongType,
    /// A value that the field does not take.
    InvalidValue,
    /// A number or a count outside its limits.
    OutOfRange,
    /// Something that must be unique is there twice.
    Duplicate,
    /// Valid elsewhere, not done here.
    NotSupported,
    /// The text is not YAML, or the file can't be read.
    Unreadable,
    /// The kind or its apiVersion looks like a misspelling of ours.
    UnknownKind,
    /// The named chain is not there or has no path id yet.
    ChainNotFound,
    /// A selector of higher precedence takes the same packets.
    Conflict,
    /// Labels that match no pod.
    NoMatchingPods,
    /// A limit of the node or of the id space is reached.
    Exhausted,
}

impl IssueReason {
    /// The static label, in the form of a Kubernetes condition's reason.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::UnknownField => "UnknownField",
            Self::MissingField => "MissingField",
            Self::NullValue => "NullValue",
            Self::WrongType => "WrongType",
            Self::InvalidValue => "InvalidValue",
            Self::OutOfRange => "OutOfRange",
            Self::Duplicate => "Duplicate",
            Self::NotSupported => "NotSupported",
            Self::Unreadable => "Unreadable",
            Self::UnknownKind => "UnknownKind",
            Self::ChainNotFound => "ChainNotFound",
            Self::Conflict => "Conflict",
            Self::NoMatchingPods => "NoMatchingPods",
            Self::Exhausted => "Exhausted",
        }
    }
}

impl fmt::Display for IssueReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// One thing that is wrong with one object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Issue {
    /// The object.
    pub object: ObjectRef,
    /// Path of the field, like `spec.subject.pods.podSelector.matchLabels`.
    pub field: String,
    /// Why.
    pub reason: IssueReason,
    /// What is wrong, without the field's path.
    pub message: String,
    /// What to write instead, in the imperative.
    pub mend: String,
    /// Whether the object is refused.
    pub severity: Severity,
}

impl Issue {
    /// Whether the object is refused.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.object)?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)?;
        if !self.mend.is_empty() {
            write!(f, "; {}", self.mend)?;
        }
        Ok(())
    }
}
