import com.sun.source.tree.CompilationUnitTree;
import com.sun.source.tree.ImportTree;
import com.sun.source.tree.MemberSelectTree;
import com.sun.source.tree.Tree;
import com.sun.source.util.JavacTask;
import com.sun.source.util.TreePath;
import com.sun.source.util.Trees;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import javax.lang.model.element.Element;
import javax.lang.model.element.PackageElement;
import javax.tools.JavaCompiler;
import javax.tools.StandardJavaFileManager;
import javax.tools.ToolProvider;

/** Prints "importer imported" for every import that the Java compiler resolves to a file below a folder. */
public class JavaImports {
  public static void main(String[] arguments) throws Exception {
    Path root = Path.of(arguments[0]).toRealPath();
    JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
    StandardJavaFileManager manager = compiler.getStandardFileManager(null, null, null);
    JavacTask task = (JavacTask) compiler.getTask(null, manager, problem -> {}, List.of("-proc:none"), null,
        manager.getJavaFileObjectsFromPaths(sources(root)));
    Trees trees = Trees.instance(task);
    List<CompilationUnitTree> units = new ArrayList<>();
    task.parse().forEach(units::add);
    task.analyze(); // what other libraries would tell stays unknown

    Map<Element, String> homes = new HashMap<>();
    Map<String, List<String>> packages = new HashMap<>();
    for (CompilationUnitTree unit : units) {
      String name = name(root, unit);
      String packageName = unit.getPackageName() == null ? "" : unit.getPackageName().toString();
      packages.computeIfAbsent(packageName, missing -> new ArrayList<>()).add(name);
      for (Tree type : unit.getTypeDecls()) {
        homes.put(trees.getElement(new TreePath(new TreePath(unit), type)), name);
      }
    }
    TreeSet<String> found = new TreeSet<>();
    for (CompilationUnitTree unit : units) {
      for (ImportTree imported : unit.getImports()) {
        MemberSelectTree whole = (MemberSelectTree) imported.getQualifiedIdentifier();
        boolean all = whole.getIdentifier().contentEquals("*");
        TreePath path = TreePath.getPath(unit, all || imported.isStatic() ? whole.getExpression() : whole);
        Element element = path == null ? null : trees.getElement(path);
        if (element instanceof PackageElement) {
          packages.getOrDefault(element.toString(), List.of()).forEach(o -> found.add(name(root, unit) + " " + o));
          continue;
        }
        while (element != null && !homes.containsKey(element)) {
          element = element.getEnclosingElement();
        }
        if (element != null) {
          found.add(name(root, unit) + " " + homes.get(element));
        }
      }
    }
    found.forEach(System.out::println);
  }

  private static List<Path> sources(Path root) throws Exception {
    try (Stream<Path> paths = Files.walk(root)) {
      return paths.filter(path -> path.toString().endsWith(".java") && !path.toString().endsWith("-info.java"))
          .sorted().collect(Collectors.toList());
    }
  }

  private static String name(Path root, CompilationUnitTree unit) {
    return root.relativize(Path.of(unit.getSourceFile().toUri())).toString();
  }
}
