// A clang plugin that keeps clang-tidy out of system headers. Clang-tidy matches its checks against every declaration
// of a translation unit, and then drops what it found in system headers; those are more than nine tenths of the work.
// With this plugin it looks only at the declarations that would be reported. tests/lint.sh builds and loads it.
#include <clang/AST/ASTConsumer.h>
#include <clang/AST/ASTContext.h>
#include <clang/AST/DeclCXX.h>
#include <clang/AST/ParentMapContext.h>
#include <clang/Basic/SourceManager.h>
#include <clang/Frontend/FrontendPluginRegistry.h>

#include <memory>
#include <set>
#include <string>
#include <vector>

namespace {

// ASTContext::setTraversalScope() would also forget the parents of nodes outside the scope, and matchers ask for them;
// so the member is set directly. An explicit instantiation may name a private member.
using Scope = std::vector<clang::Decl*>;
template <Scope clang::ASTContext::*Member>
struct Access {
  friend Scope& traversal_scope(clang::ASTContext& context) { return context.*Member; }
};
Scope& traversal_scope(clang::ASTContext& context);
template struct Access<&clang::ASTContext::TraversalScope>;

// Calls visit(record) for every class that stands in `declaration` or in a namespace within it.
template <typename Visit>
void for_each_class(clang::Decl* declaration, const Visit& visit) {
  if (auto* record = llvm::dyn_cast<clang::CXXRecordDecl>(declaration)) {
    visit(record);
  } else if (llvm::isa<clang::NamespaceDecl, clang::LinkageSpecDecl>(declaration)) {
    for (clang::Decl* inner : llvm::cast<clang::DeclContext>(declaration)->decls()) {
      for_each_class(inner, visit);
    }
  }
}

class Consumer : public clang::ASTConsumer {
 public:
  void HandleTranslationUnit(clang::ASTContext& context) override {
    context.getParents(*context.getTranslationUnitDecl());  // builds the map of parents, of everything
    const clang::SourceManager& sources = context.getSourceManager();
    Scope scope;
    Scope others;
    for (clang::Decl* declaration : context.getTranslationUnitDecl()->decls()) {
      const bool theirs = sources.isInSystemHeader(sources.getExpansionLoc(declaration->getLocation()));
      (theirs ? others : scope).push_back(declaration);
    }
    add_namesakes(others, scope);
    traversal_scope(context) = scope;
  }

 private:
  // bugprone-forward-declaration-namespace compares our forward declarations with classes of the same name elsewhere.
  static void add_namesakes(const Scope& others, Scope& scope) {
    std::set<std::string> forward_declared;
    for (clang::Decl* declaration : scope) {
      for_each_class(declaration, [&](clang::CXXRecordDecl* record) {
        if (!record->hasDefinition()) {
          forward_declared.insert(record->getNameAsString());
        }
      });
    }
    for (clang::Decl* declaration : others) {
      for_each_class(declaration, [&](clang::CXXRecordDecl* record) {
        if (forward_declared.count(record->getNameAsString()) > 0) {
          scope.push_back(record);
        }
      });
    }
  }
};

class Action : public clang::PluginASTAction {
 protected:
  std::unique_ptr<clang::ASTConsumer> CreateASTConsumer(clang::CompilerInstance&, llvm::StringRef) override {
    return std::make_unique<Consumer>();
  }
  bool ParseArgs(const clang::CompilerInstance&, const std::vector<std::string>&) override { return true; }
  ActionType getActionType() override { return AddBeforeMainAction; }
};

const clang::FrontendPluginRegistry::Add<Action> registered("own-code",
                                                            "look only at declarations outside system headers");

}  // namespace
