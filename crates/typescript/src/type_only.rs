//! Which statements and members of classes are there for the compiler alone.

use oxc_ast::ast::{
    ClassElement, Declaration, ExportDefaultDeclarationKind, Statement, TSNamespaceDeclaration,
    TSNamespaceDeclarationBody,
};

pub(super) fn is_type_only(statement: &Statement<'_>) -> bool {
    match statement {
        Statement::ImportDeclaration(it) => it.import_kind.is_type(),
        Statement::ExportAllDeclaration(it) => it.export_kind.is_type(),
        Statement::ExportNamedDeclaration(it) => it.export_kind.is_type(),
        Statement::ExportFromDeclaration(it) => it.export_kind.is_type(),
        Statement::ExportDeclaration(it) => is_type_only_declaration(&it.declaration),
        Statement::ExportDefaultDeclaration(it) => match &it.declaration {
            ExportDefaultDeclarationKind::TSInterfaceDeclaration(_) => true,
            ExportDefaultDeclarationKind::FunctionDeclaration(it) => it.body.is_none(),
            _ => false,
        },
        Statement::TSNamespaceExportDeclaration(_) => true,
        other => other.as_declaration().is_some_and(is_type_only_declaration),
    }
}

fn is_type_only_declaration(declaration: &Declaration<'_>) -> bool {
    match declaration {
        Declaration::TSTypeAliasDeclaration(_)
        | Declaration::TSInterfaceDeclaration(_)
        | Declaration::TSExternalModuleDeclaration(_)
        | Declaration::TSGlobalDeclaration(_) => true,
        Declaration::VariableDeclaration(it) => it.declare,
        Declaration::ClassDeclaration(it) => it.declare,
        Declaration::TSEnumDeclaration(it) => it.declare,
        // Without a body it is an overload.
        Declaration::FunctionDeclaration(it) => it.declare || it.body.is_none(),
        Declaration::TSNamespaceDeclaration(it) => it.declare || is_type_only_namespace(it),
        Declaration::TSImportEqualsDeclaration(it) => it.import_kind.is_type(),
    }
}

fn is_type_only_namespace(namespace: &TSNamespaceDeclaration<'_>) -> bool {
    match &namespace.body {
        TSNamespaceDeclarationBody::TSNamespaceDeclaration(inner) => is_type_only_namespace(inner),
        TSNamespaceDeclarationBody::TSModuleBlock(block) => {
            block.directives.is_empty() && block.body.iter().all(is_type_only)
        }
    }
}

/// What has decorators is none of it: they run.
pub(super) fn is_type_only_member(member: &ClassElement<'_>) -> bool {
    match member {
        ClassElement::TSIndexSignature(_) => true,
        ClassElement::StaticBlock(_) => false,
        ClassElement::MethodDefinition(it) => it.value.body.is_none() && it.decorators.is_empty(),
        ClassElement::PropertyDefinition(it) => (it.declare || it.r#type.is_abstract()) && it.decorators.is_empty(),
        ClassElement::AccessorProperty(it) => it.r#type.is_abstract() && it.decorators.is_empty(),
    }
}
