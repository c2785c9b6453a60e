//! From a text to a checked plan.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use promql_parser::label::MatchOp;
use promql_parser::parser::{
    self, AggregateExpr, AtModifier, BinModifier, BinaryExpr, Call, Expr as Ast, LabelModifier, Offset,
    SubqueryExpr, VectorMatchCardinality, VectorSelector,
};

use super::labels::NAME;
use super::matchers::{Test, anchored};
use super::plan::{
    Aggregation, Anchor, Expr, Grouping, Kind, Matching, OfValue, Operator, OverRange, Range, Selector,
    SetOperator, Sides, When,
};
use super::scan::{Scan, is_shapeless};
use super::{DEFAULT_STEP_MS, Labels, Matcher, PrometheusVersion, QueryError};

/// The most evaluations that one query may take by its subqueries.
const MOST_EVALUATIONS: i64 = 1_000_000;

/// A query, read and checked.
#[derive(Debug, Clone)]
pub struct Query {
    pub(super) text: String,
    pub(super) plan: Expr,
    pub(super) version: PrometheusVersion,
}

/// Queries are equal if their texts and rules are.
impl PartialEq for Query {
    fn eq(&self, other: &Query) -> bool {
        self.text == other.text && self.version == other.version
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match self.offset {
            Some(offset) => write!(f, " (at byte {offset} of the query)"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for QueryError {}

impl Query {
    /// Reads and checks a query.
    ///
    /// # Errors
    /// When it is not PromQL, or uses what is not evaluated: with the place in the text and a hint where there is one.
    pub fn new(text: &str, version: PrometheusVersion) -> Result<Query, QueryError> {
        let reader = Reader { scan: Scan::new(text), version };
        reader.scan.check(version)?;
        let ast = parser::parse(text).map_err(|why| reader.refused(text, &why))?;
        let plan = reader.expr(&ast)?;
        if plan.evaluations() > MOST_EVALUATIONS {
            let error = QueryError {
                message: "its subqueries have too many steps".to_owned(),
                offset: text.find(':'),
                hint: None,
            };
            return Err(error.hint("a longer step after the colon"));
        }
        Ok(Query { text: text.to_owned(), plan, version })
    }

    /// The text that was read.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it gives one number without labels at any instant.
    #[must_use]
    pub fn is_scalar(&self) -> bool {
        self.plan.kind() == Kind::Scalar
    }

    /// Whether it gives an instant vector.
    #[must_use]
    pub fn is_vector(&self) -> bool {
        self.plan.kind() == Kind::Vector
    }

    /// How far back it looks from the instant it is evaluated at, ms.
    ///
    /// # Errors
    /// When it looks at an instant of its own (`@`), which is any distance away.
    pub fn reach(&self) -> Result<u64, QueryError> {
        let mut reach = Some(0);
        self.plan.each_selector(Some(0), &mut |_, before| {
            reach = reach.zip(before).map(|(reach, before): (i64, i64)| reach.max(before));
        });
        let fixed = || {
            let at = self.text.find('@').unwrap_or(0);
            QueryError::at(at, "a fixed instant is out of reach of what is kept").hint("use offset")
        };
        Ok(reach.ok_or_else(fixed)?.unsigned_abs())
    }

    /// The matchers of each of its selectors.
    #[must_use]
    pub fn selectors(&self) -> Vec<&[Matcher]> {
        let mut all = Vec::new();
        self.plan.each_selector(Some(0), &mut |selector, _| all.push(selector.matchers.as_slice()));
        all
    }

    /// Where a name stands in the text, in bytes.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<usize> {
        Scan::new(&self.text).find(name)
    }
}

/// Turns the parser's tree into a plan.
struct Reader<'a> {
    scan: Scan<'a>,
    version: PrometheusVersion,
}

type Read<T> = Result<T, QueryError>;

impl Reader<'_> {
    /// The parser's complaint with a place: of what it quotes, or where the text stops being a query.
    fn refused(&self, text: &str, why: &str) -> QueryError {
        if text.trim().is_empty() {
            return QueryError::at(0, "the query is empty");
        }
        let quoted = why.split('\'').nth(1).and_then(|name| self.scan.find(name));
        let shapeless = is_shapeless(why) || parser::lexer(text).is_err();
        let offset = if shapeless { Some(self.scan.broken_at()) } else { quoted };
        let message = if why == "invalid promql query" { "this is not PromQL from here on" } else { why };
        let error = QueryError { message: message.to_owned(), offset, hint: None };
        match why.strip_prefix("unknown function with name '") {
            Some(name) => self.unknown_function(name.trim_end_matches('\''), error),
            None if why.starts_with("expected type matrix") => error.hint("give it a range, such as [5m]"),
            None => error,
        }
    }

    fn unknown_function(&self, name: &str, error: QueryError) -> QueryError {
        match scaletwin_core::input::suggestion(name, &FUNCTIONS) {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }

    fn unsupported(&self, what: &str, name: &str) -> QueryError {
        QueryError {
            message: format!("{what} is not evaluated here"),
            offset: self.scan.find(name),
            hint: None,
        }
    }

    fn expr(&self, ast: &Ast) -> Read<Expr> {
        match ast {
            Ast::NumberLiteral(number) => Ok(Expr::Number(number.val)),
            Ast::StringLiteral(text) => Ok(Expr::Text(text.val.clone())),
            Ast::Paren(paren) => self.expr(&paren.expr),
            Ast::Unary(unary) => {
                let inner = self.expr(&unary.expr)?;
                self.expect_values(&inner, "-")?;
                Ok(Expr::Negate(Box::new(inner)))
            }
            Ast::VectorSelector(selector) => self.selector(selector).map(Expr::Select),
            Ast::MatrixSelector(_) | Ast::Subquery(_) => self.range(ast).map(Expr::Range),
            Ast::Call(call) => self.call(call),
            Ast::Aggregate(aggregate) => self.aggregate(aggregate),
            Ast::Binary(binary) => self.binary(binary),
            Ast::Extension(_) => Err(self.unsupported("an extension", "")),
        }
    }

    fn of_kind(&self, ast: &Ast, kind: Kind, user: &str) -> Read<Box<Expr>> {
        let expr = self.expr(ast)?;
        if expr.kind() == kind {
            return Ok(Box::new(expr));
        }
        let message = format!("{user} needs a {}, not a {}", kind.name(), expr.kind().name());
        Err(QueryError { message, offset: self.scan.find(user), hint: None })
    }

    fn expect_values(&self, expr: &Expr, user: &str) -> Read<()> {
        match expr.kind() {
            Kind::Scalar | Kind::Vector => Ok(()),
            other => {
                let message = format!("{user} takes scalars and instant vectors, not a {}", other.name());
                Err(QueryError { message, offset: self.scan.find(user), hint: None })
            }
        }
    }

    fn selector(&self, selector: &VectorSelector) -> Read<Selector> {
        if !selector.matchers.or_matchers.is_empty() {
            return Err(self.unsupported("`or` between matchers", "or"));
        }
        let name = selector.name.as_ref().map(|name| Matcher {
            name: NAME.to_owned(),
            value: name.clone(),
            test: Test::Equal,
        });
        let written = selector.matchers.matchers.iter().map(|matcher| self.matcher(matcher));
        let matchers: Vec<Matcher> = name.into_iter().map(Ok).chain(written).collect::<Read<_>>()?;
        Ok(Selector { matchers, when: when(selector.at.as_ref(), selector.offset.as_ref()) })
    }

    fn matcher(&self, matcher: &promql_parser::label::Matcher) -> Read<Matcher> {
        let pattern = || {
            anchored(&matcher.value, self.version).map_err(|why| QueryError {
                message: format!("{:?} is no regular expression: {why}", matcher.value),
                offset: self.scan.find(&matcher.value),
                hint: None,
            })
        };
        let test = match matcher.op {
            MatchOp::Equal => Test::Equal,
            MatchOp::NotEqual => Test::NotEqual,
            MatchOp::Re(_) => Test::Fits(pattern()?),
            MatchOp::NotRe(_) => Test::FitsNot(pattern()?),
        };
        Ok(Matcher { name: matcher.name.clone(), value: matcher.value.clone(), test })
    }

    fn range(&self, ast: &Ast) -> Read<Range> {
        match ast {
            Ast::Paren(paren) => self.range(&paren.expr),
            Ast::MatrixSelector(matrix) => {
                Ok(Range::Selector { selector: self.selector(&matrix.vs)?, range: millis(matrix.range) })
            }
            Ast::Subquery(SubqueryExpr { expr, offset, at, range, step }) => {
                let inner = self.of_kind(expr, Kind::Vector, "[")?;
                let step = step.map_or(DEFAULT_STEP_MS, |step| millis(step).max(1));
                let when = when(at.as_ref(), offset.as_ref());
                Ok(Range::Subquery { inner, range: millis(*range), step, when })
            }
            other => {
                let message = format!("a range vector is needed, not {other}");
                Err(QueryError { message, offset: None, hint: None }.hint("give it a range, such as [5m]"))
            }
        }
    }

    fn call(&self, call: &Call) -> Read<Expr> {
        let (name, args) = (call.func.name, &call.args.args);
        let vector = |place: usize| self.of_kind(&args[place], Kind::Vector, name);
        let scalar = |place: usize| self.of_kind(&args[place], Kind::Scalar, name);
        let maybe_scalar = |place: usize| args.get(place).map(|_| scalar(place)).transpose();
        let over = |function| Ok(Expr::OverRange { function, range: self.range(&args[0])? });
        let of = |function| Ok(Expr::OfValue { function, inner: vector(0)? });
        match name {
            "time" => Ok(Expr::Time),
            "timestamp" => Ok(Expr::Timestamp(vector(0)?)),
            "vector" => Ok(Expr::Vector(scalar(0)?)),
            "scalar" => Ok(Expr::Scalar(vector(0)?)),
            "sort" => Ok(Expr::Sort { inner: vector(0)?, descending: false }),
            "sort_desc" => Ok(Expr::Sort { inner: vector(0)?, descending: true }),
            "histogram_quantile" => Ok(Expr::HistogramQuantile { q: scalar(0)?, inner: vector(1)? }),
            "absent" => Ok(Expr::Absent { inner: vector(0)?, labels: self.labels_of_absent(&args[0])? }),
            "absent_over_time" => {
                let labels = self.labels_of_absent(&args[0])?;
                Ok(Expr::AbsentOverTime { range: self.range(&args[0])?, labels })
            }
            "label_replace" => self.label_replace(args),
            "label_join" => self.label_join(args),
            "quantile_over_time" => Ok(Expr::OverRange {
                function: OverRange::Quantile(scalar(0)?),
                range: self.range(&args[1])?,
            }),
            "predict_linear" => over(OverRange::PredictLinear(scalar(1)?)),
            "round" => of(OfValue::Round(maybe_scalar(1)?)),
            "clamp" => of(OfValue::Clamp(scalar(1)?, scalar(2)?)),
            "clamp_min" => of(OfValue::ClampMin(scalar(1)?)),
            "clamp_max" => of(OfValue::ClampMax(scalar(1)?)),
            _ => match (over_range(name), of_value(name)) {
                (Some(function), _) => over(function),
                (_, Some(function)) => of(function),
                _ => Err(self.unsupported(&format!("the function {name}"), name)),
            },
        }
    }

    /// The labels that the answer of `absent` has: those that a selector asks for by equality, once.
    fn labels_of_absent(&self, ast: &Ast) -> Read<Labels> {
        let selector = match ast {
            Ast::VectorSelector(selector) => self.selector(selector)?,
            Ast::MatrixSelector(matrix) => self.selector(&matrix.vs)?,
            _ => return Ok(Labels::default()),
        };
        let (mut labels, mut seen) = (Labels::default(), Vec::new());
        for matcher in selector.matchers.iter().filter(|matcher| matcher.name != NAME) {
            let first = matcher.is_equality() && !seen.contains(&&matcher.name);
            labels = labels.with(&matcher.name, if first { &matcher.value } else { "" });
            if first {
                seen.push(&matcher.name);
            }
        }
        Ok(labels)
    }

    fn text(&self, ast: &Ast) -> Read<String> {
        match ast {
            Ast::StringLiteral(text) => Ok(text.val.clone()),
            Ast::Paren(paren) => self.text(&paren.expr),
            other => {
                let message = format!("a text is needed, not {other}");
                Err(QueryError { message, offset: None, hint: None })
            }
        }
    }

    fn label_replace(&self, args: &[Box<Ast>]) -> Read<Expr> {
        let inner = self.of_kind(&args[0], Kind::Vector, "label_replace")?;
        let [target, replacement, source, pattern] = [1, 2, 3, 4].map(|place| self.text(&args[place]));
        let (target, source, written) = (self.label(target?)?, source?, pattern?);
        let pattern = anchored(&written, self.version).map_err(|why| QueryError {
            message: format!("{written:?} is no regular expression: {why}"),
            offset: self.scan.find(&written),
            hint: None,
        })?;
        Ok(Expr::LabelReplace { inner, target, replacement: replacement?, source, pattern })
    }

    fn label_join(&self, args: &[Box<Ast>]) -> Read<Expr> {
        let inner = self.of_kind(&args[0], Kind::Vector, "label_join")?;
        let target = self.label(self.text(&args[1])?)?;
        let separator = self.text(&args[2])?;
        let sources = args[3..].iter().map(|source| self.label(self.text(source)?)).collect::<Read<_>>()?;
        Ok(Expr::LabelJoin { inner, target, separator, sources })
    }

    /// A name that a label may have: in version 3 any text.
    fn label(&self, name: String) -> Read<String> {
        let plain = |(place, c): (usize, char)| {
            c == '_' || c.is_ascii_alphabetic() || (place > 0 && c.is_ascii_digit())
        };
        let fits = self.version == PrometheusVersion::V3 || name.chars().enumerate().all(plain);
        if fits && !name.is_empty() {
            return Ok(name);
        }
        let offset = self.scan.find(&name);
        Err(QueryError { message: format!("{name:?} cannot be the name of a label"), offset, hint: None })
    }

    fn aggregate(&self, aggregate: &AggregateExpr) -> Read<Expr> {
        let name = aggregate.op.to_string();
        let inner = self.of_kind(&aggregate.expr, Kind::Vector, &name)?;
        let parameter = || match &aggregate.param {
            Some(param) => self.of_kind(param, Kind::Scalar, &name),
            None => Err(self.unsupported(&format!("{name} without a parameter"), &name)),
        };
        let how = match name.as_str() {
            "sum" => Aggregation::Sum,
            "avg" => Aggregation::Avg,
            "min" => Aggregation::Min,
            "max" => Aggregation::Max,
            "count" => Aggregation::Count,
            "group" => Aggregation::Group,
            "stddev" => Aggregation::Stddev,
            "stdvar" => Aggregation::Stdvar,
            "topk" => Aggregation::TopK(parameter()?),
            "bottomk" => Aggregation::BottomK(parameter()?),
            "quantile" => Aggregation::Quantile(parameter()?),
            _ => return Err(self.unsupported(&format!("the aggregation {name}"), &name)),
        };
        let by = match &aggregate.modifier {
            None => Grouping::Only(Vec::new()),
            Some(LabelModifier::Include(labels)) => Grouping::Only(labels.labels.clone()),
            Some(LabelModifier::Exclude(labels)) => Grouping::Without(labels.labels.clone()),
        };
        Ok(Expr::Aggregate { how, inner, by })
    }

    fn binary(&self, binary: &BinaryExpr) -> Read<Expr> {
        let name = binary.op.to_string();
        let side = |ast: &Ast| {
            let expr = self.expr(ast)?;
            self.expect_values(&expr, &name)?;
            Ok(Box::new(expr))
        };
        let (left, right) = (side(&binary.lhs)?, side(&binary.rhs)?);
        let none = BinModifier::default();
        let modifier = binary.modifier.as_ref().unwrap_or(&none);
        if modifier.fill_values.lhs.is_some() || modifier.fill_values.rhs.is_some() {
            return Err(self.unsupported("the modifier fill", "fill"));
        }
        let by = match &modifier.matching {
            None => Grouping::Without(Vec::new()),
            Some(LabelModifier::Include(labels)) => Grouping::Only(labels.labels.clone()),
            Some(LabelModifier::Exclude(labels)) => Grouping::Without(labels.labels.clone()),
        };
        if let Some(operator) = set_operator(&name) {
            return Ok(Expr::Set { operator, left, right, by });
        }
        let operator =
            operator(&name).ok_or_else(|| self.unsupported(&format!("the operator {name}"), &name))?;
        let sides = match &modifier.card {
            VectorMatchCardinality::ManyToOne(labels) => Sides::ManyToOne(labels.labels.clone()),
            VectorMatchCardinality::OneToMany(labels) => Sides::OneToMany(labels.labels.clone()),
            VectorMatchCardinality::OneToOne | VectorMatchCardinality::ManyToMany => Sides::OneToOne,
        };
        let matching = Matching { by, sides };
        Ok(Expr::Arithmetic { operator, left, right, matching, as_bool: modifier.return_bool })
    }
}

/// What may be called, for did-you-mean.
const FUNCTIONS: [&str; 44] = [
    "abs",
    "absent",
    "absent_over_time",
    "avg_over_time",
    "ceil",
    "changes",
    "clamp",
    "clamp_max",
    "clamp_min",
    "count_over_time",
    "delta",
    "deriv",
    "exp",
    "floor",
    "histogram_quantile",
    "idelta",
    "increase",
    "irate",
    "label_join",
    "label_replace",
    "last_over_time",
    "ln",
    "log10",
    "log2",
    "max_over_time",
    "min_over_time",
    "predict_linear",
    "present_over_time",
    "quantile_over_time",
    "rate",
    "resets",
    "round",
    "scalar",
    "sgn",
    "sort",
    "sort_desc",
    "sqrt",
    "stddev_over_time",
    "stdvar_over_time",
    "sum_over_time",
    "time",
    "timestamp",
    "vector",
    "sum",
];

fn over_range(name: &str) -> Option<OverRange> {
    Some(match name {
        "rate" => OverRange::Rate,
        "increase" => OverRange::Increase,
        "delta" => OverRange::Delta,
        "irate" => OverRange::Irate,
        "idelta" => OverRange::Idelta,
        "avg_over_time" => OverRange::Avg,
        "min_over_time" => OverRange::Min,
        "max_over_time" => OverRange::Max,
        "sum_over_time" => OverRange::Sum,
        "count_over_time" => OverRange::Count,
        "last_over_time" => OverRange::Last,
        "present_over_time" => OverRange::Present,
        "stddev_over_time" => OverRange::Stddev,
        "stdvar_over_time" => OverRange::Stdvar,
        "changes" => OverRange::Changes,
        "resets" => OverRange::Resets,
        "deriv" => OverRange::Deriv,
        _ => return None,
    })
}

fn of_value(name: &str) -> Option<OfValue> {
    Some(match name {
        "abs" => OfValue::Abs,
        "ceil" => OfValue::Ceil,
        "floor" => OfValue::Floor,
        "exp" => OfValue::Exp,
        "ln" => OfValue::Ln,
        "log2" => OfValue::Log2,
        "log10" => OfValue::Log10,
        "sqrt" => OfValue::Sqrt,
        "sgn" => OfValue::Sgn,
        _ => return None,
    })
}

fn operator(sign: &str) -> Option<Operator> {
    Some(match sign {
        "+" => Operator::Add,
        "-" => Operator::Sub,
        "*" => Operator::Mul,
        "/" => Operator::Div,
        "%" => Operator::Mod,
        "^" => Operator::Pow,
        "==" => Operator::Equal,
        "!=" => Operator::NotEqual,
        "<" => Operator::Less,
        "<=" => Operator::LessEqual,
        ">" => Operator::Greater,
        ">=" => Operator::GreaterEqual,
        _ => return None,
    })
}

fn set_operator(word: &str) -> Option<SetOperator> {
    Some(match word {
        "and" => SetOperator::And,
        "or" => SetOperator::Or,
        "unless" => SetOperator::Unless,
        _ => return None,
    })
}

fn when(at: Option<&AtModifier>, offset: Option<&Offset>) -> When {
    let offset = match offset {
        None => 0,
        Some(Offset::Pos(offset)) => millis(*offset),
        Some(Offset::Neg(offset)) => -millis(*offset),
    };
    let at = at.map(|at| match at {
        AtModifier::Start | AtModifier::End => Anchor::Query,
        AtModifier::At(instant) => Anchor::Fixed(match instant.duration_since(UNIX_EPOCH) {
            Ok(after) => millis(after),
            Err(before) => -millis(before.duration()),
        }),
    });
    When { at, offset }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
