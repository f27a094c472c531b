//! Walks what was parsed, and marks what is there for the compiler alone.

use oxc_ast::ast::{
    AccessorProperty, ArrowFunctionExpression, BinaryExpression, BinaryOperator, Class, ClassElement, Decorator,
    ExportSpecifier, Expression, FormalParameter, ImportSpecifier, MethodDefinition, PropertyDefinition, Statement,
    TSAsExpression, TSClassImplements, TSEnumDeclaration, TSExportAssignment, TSImportEqualsDeclaration,
    TSInstantiationExpression, TSNamespaceDeclaration, TSNonNullExpression, TSSatisfiesExpression, TSThisParameter,
    TSTypeAnnotation, TSTypeAssertion, TSTypeParameterDeclaration, TSTypeParameterInstantiation, VariableDeclarator,
};
use oxc_ast_visit::{Visit, walk};
use oxc_span::{GetSpan as _, Span};

use super::marks::Marks;
use super::type_only::{is_type_only, is_type_only_member};

/// Modifiers of members that JavaScript has not.
const MODIFIERS: [&str; 7] = ["abstract", "declare", "override", "private", "protected", "public", "readonly"];

const ENUM: &str = "an enum makes an object when it runs, and only types are taken away; write an object: const Color = { Red: \"red\" } as const";
const NAMESPACE: &str = "a namespace with values makes an object when it runs, and only types are taken away; write its functions and constants without it, or an object";
const PARAMETER_PROPERTY: &str = "a modifier of a parameter makes a field of the class when it runs, and only types are taken away; write the field, and assign it in the constructor";
const IMPORT_EQUALS: &str =
    "`import x = ...` does something when it runs, and only types are taken away; write import { x } from \"tidegate\"";
const EXPORT_EQUALS: &str = "`export = ...` does something when it runs, and only types are taken away; write export before functions and constants";
const DECORATOR: &str =
    "a decorator does something when it runs, which no engine knows here; call its function where the class is made";
const ACCESSOR: &str = "no engine knows `accessor` here; write a getter and a setter";
const CAST: &str =
    "a type in front of a value cannot be taken away everywhere; write it behind the value: value as Type";
const AS_POWER: &str =
    "a power of `value as Type` would be another one without the type; write parentheses: (value as Type) ** 2";

/// The marks that were made, and what is more than a type.
pub(super) struct Stripper<'t> {
    pub(super) marks: Marks<'t>,
    /// Where it is, and what to write instead.
    pub(super) not_types: Vec<(u32, &'static str)>,
}

impl<'t> Stripper<'t> {
    pub(super) fn of(marks: Marks<'t>) -> Self {
        Self { marks, not_types: Vec::new() }
    }

    fn not_a_type(&mut self, span: Span, instead: &'static str) {
        self.not_types.push((span.start, instead));
    }

    /// Modifiers of a member, which stand before its name. A member that begins with one could go on with the member before.
    fn modifiers(&mut self, member: u32, name: u32) {
        let mut at = member;
        while at < name {
            let (word, end) = self.marks.word(at);
            if MODIFIERS.contains(&word) {
                self.marks.blank(at, end);
                if at == member {
                    self.marks.put(at, ';');
                }
            }
            at = self.marks.token(end);
        }
    }

    /// The `?` or `!` behind a name.
    fn mark_behind(&mut self, name: u32, is_computed: bool) {
        let mut at = self.marks.token(name);
        if is_computed && self.marks.is_at(at, ']') {
            at = self.marks.token(at + 1);
        }
        if self.marks.is_at(at, '?') || self.marks.is_at(at, '!') {
            self.marks.blank(at, at + 1);
        }
    }

    /// One of a list, with the comma behind it.
    fn listed(&mut self, span: Span) {
        self.marks.blank(span.start, span.end);
        let comma = self.marks.token(span.end);
        if self.marks.is_at(comma, ',') {
            self.marks.blank(comma, comma + 1);
        }
    }

    /// From the keyword `implements` to the end of its list.
    fn implemented(&mut self, class: &Class<'_>) {
        let (Some(first), Some(last)) = (class.implements.first(), class.implements.last()) else { return };
        let extended = class.heritage.as_ref().map(|heritage| match &heritage.type_arguments {
            Some(arguments) => arguments.span.end,
            None => heritage.expression.span().end,
        });
        let generic = class.type_parameters.as_ref().map(|parameters| parameters.span.end);
        let named = class.id.as_ref().map(|id| id.span.end);
        let mut at = self.marks.token(extended.or(generic).or(named).unwrap_or(class.span.start));
        while at < first.span.start {
            let (word, end) = self.marks.word(at);
            if word == "implements" {
                break;
            }
            at = self.marks.token(end);
        }
        self.marks.blank(at, last.span.end);
    }
}

impl<'a> Visit<'a> for Stripper<'_> {
    fn visit_statement(&mut self, it: &Statement<'a>) {
        if is_type_only(it) {
            self.marks.remove(it.span());
        } else {
            walk::walk_statement(self, it);
            self.marks.end(it.span());
        }
    }

    fn visit_ts_type_annotation(&mut self, it: &TSTypeAnnotation<'a>) {
        self.marks.blank(it.span.start, it.span.end);
    }

    fn visit_ts_type_parameter_declaration(&mut self, it: &TSTypeParameterDeclaration<'a>) {
        self.marks.blank(it.span.start, it.span.end);
    }

    fn visit_ts_type_parameter_instantiation(&mut self, it: &TSTypeParameterInstantiation<'a>) {
        self.marks.blank(it.span.start, it.span.end);
    }

    fn visit_ts_as_expression(&mut self, it: &TSAsExpression<'a>) {
        self.visit_expression(&it.expression);
        self.marks.blank(it.expression.span().end, it.span.end);
    }

    fn visit_ts_satisfies_expression(&mut self, it: &TSSatisfiesExpression<'a>) {
        self.visit_expression(&it.expression);
        self.marks.blank(it.expression.span().end, it.span.end);
    }

    fn visit_ts_non_null_expression(&mut self, it: &TSNonNullExpression<'a>) {
        self.visit_expression(&it.expression);
        self.marks.blank(it.expression.span().end, it.span.end);
    }

    fn visit_ts_instantiation_expression(&mut self, it: &TSInstantiationExpression<'a>) {
        self.visit_expression(&it.expression);
        self.visit_ts_type_parameter_instantiation(&it.type_arguments);
    }

    fn visit_binary_expression(&mut self, it: &BinaryExpression<'a>) {
        // The parser keeps the other operators apart that would change their operands; this one binds to the right.
        let is_typed = matches!(it.left, Expression::TSAsExpression(_) | Expression::TSSatisfiesExpression(_));
        if is_typed && it.operator == BinaryOperator::Exponential {
            self.not_a_type(it.span, AS_POWER);
        }
        walk::walk_binary_expression(self, it);
    }

    fn visit_arrow_function_expression(&mut self, it: &ArrowFunctionExpression<'a>) {
        walk::walk_arrow_function_expression(self, it);
        let parameters = it.params.span;
        // `return <T,↵>(x) => x` returns nothing when a line ends before the parenthesis.
        if let Some(generic) = &it.type_parameters
            && self.marks.has_line_break(generic.span.start, parameters.start)
        {
            self.marks.put(generic.span.start, '(');
            self.marks.blank(parameters.start, parameters.start + 1);
        }
        // No line may end before the arrow.
        if let Some(returned) = &it.return_type
            && self.marks.has_line_break(parameters.end, returned.span.end)
        {
            self.marks.blank(parameters.end - 1, parameters.end);
            self.marks.put(self.marks.before(returned.span.end), ')');
        }
    }

    fn visit_variable_declarator(&mut self, it: &VariableDeclarator<'a>) {
        if it.definite {
            self.mark_behind(it.id.span().end, false);
        }
        walk::walk_variable_declarator(self, it);
    }

    fn visit_formal_parameter(&mut self, it: &FormalParameter<'a>) {
        if it.accessibility.is_some() || it.readonly || it.r#override {
            self.not_a_type(it.span, PARAMETER_PROPERTY);
        }
        if it.optional {
            self.mark_behind(it.pattern.span().end, false);
        }
        walk::walk_formal_parameter(self, it);
    }

    fn visit_ts_this_parameter(&mut self, it: &TSThisParameter<'a>) {
        self.listed(it.span);
    }

    fn visit_import_specifier(&mut self, it: &ImportSpecifier<'a>) {
        if it.import_kind.is_type() {
            self.listed(it.span);
        }
    }

    fn visit_export_specifier(&mut self, it: &ExportSpecifier<'a>) {
        if it.export_kind.is_type() {
            self.listed(it.span);
        }
    }

    fn visit_class(&mut self, it: &Class<'a>) {
        if it.r#abstract {
            let (_, end) = self.marks.word(it.span.start);
            self.marks.blank(it.span.start, end);
        }
        self.implemented(it);
        walk::walk_class(self, it);
    }

    /// What a class implements is gone with its keyword.
    fn visit_ts_class_implements(&mut self, _: &TSClassImplements<'a>) {}

    fn visit_class_element(&mut self, it: &ClassElement<'a>) {
        if is_type_only_member(it) {
            self.marks.remove(it.span());
        } else {
            walk::walk_class_element(self, it);
            self.marks.end(it.span());
        }
    }

    fn visit_method_definition(&mut self, it: &MethodDefinition<'a>) {
        self.modifiers(it.span.start, it.key.span().start);
        if it.optional {
            self.mark_behind(it.key.span().end, it.computed);
        }
        walk::walk_method_definition(self, it);
    }

    fn visit_property_definition(&mut self, it: &PropertyDefinition<'a>) {
        self.modifiers(it.span.start, it.key.span().start);
        if it.optional || it.definite {
            self.mark_behind(it.key.span().end, it.computed);
        }
        walk::walk_property_definition(self, it);
    }

    fn visit_accessor_property(&mut self, it: &AccessorProperty<'a>) {
        self.not_a_type(it.span, ACCESSOR);
    }

    fn visit_decorator(&mut self, it: &Decorator<'a>) {
        self.not_a_type(it.span, DECORATOR);
    }

    fn visit_ts_type_assertion(&mut self, it: &TSTypeAssertion<'a>) {
        self.not_a_type(it.span, CAST);
    }

    fn visit_ts_enum_declaration(&mut self, it: &TSEnumDeclaration<'a>) {
        self.not_a_type(it.span, ENUM);
    }

    fn visit_ts_namespace_declaration(&mut self, it: &TSNamespaceDeclaration<'a>) {
        self.not_a_type(it.span, NAMESPACE);
    }

    fn visit_ts_import_equals_declaration(&mut self, it: &TSImportEqualsDeclaration<'a>) {
        self.not_a_type(it.span, IMPORT_EQUALS);
    }

    fn visit_ts_export_assignment(&mut self, it: &TSExportAssignment<'a>) {
        self.not_a_type(it.span, EXPORT_EQUALS);
    }
}
