// There is no distribution to start, only the libraries that one is made of: this puts a node together from them, as the
// distribution's own start does, with every module that lies on the class path. What is given are its settings, NAME=VALUE.
//
// The text is for both products, whose classes differ in the name of their root.

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;

import org.elasticsearch.common.logging.LogConfigurator;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.env.Environment;
import org.elasticsearch.node.InternalSettingsPreparer;
import org.elasticsearch.node.Node;
import org.elasticsearch.plugins.Plugin;

public final class StorelabNode extends Node {
    private static final String ROOT = Node.class.getPackageName().replaceFirst("node$", "");

    /** Modules of either product; those that are not there are left out. */
    private static final List<String> MODULES = List.of(
        "transport.Netty4Plugin",
        "painless.PainlessPlugin",
        "analysis.common.CommonAnalysisPlugin",
        "search.aggregations.matrix.MatrixAggregationPlugin",
        "script.expression.ExpressionPlugin",
        "script.mustache.MustachePlugin",
        "index.mapper.MapperExtrasPlugin",
        "index.rankeval.RankEvalPlugin",
        "index.reindex.ReindexPlugin",
        "ingest.common.IngestCommonPlugin",
        "join.ParentJoinPlugin",
        "percolator.PercolatorPlugin",
        "geo.GeoModulePlugin",
        "plugin.repository.url.URLRepositoryPlugin");

    private StorelabNode(Environment environment, Collection<Class<? extends Plugin>> modules) {
        super(environment, modules, true);
    }

    private static Collection<Class<? extends Plugin>> modules() {
        List<Class<? extends Plugin>> found = new ArrayList<>();
        for (String module : MODULES) {
            try {
                found.add(Class.forName(ROOT + module).asSubclass(Plugin.class));
            } catch (ClassNotFoundException absent) {
                // The other product has it, or it is part of the core by now.
            }
        }
        return found;
    }

    public static void main(String[] arguments) throws Exception {
        Settings.Builder settings = Settings.builder();
        for (String argument : arguments) {
            String[] pair = argument.split("=", 2);
            settings.put(pair[0], pair[1]);
        }
        String name = settings.get("node.name");
        Path home = Path.of(settings.get("path.home"));
        Environment environment =
            InternalSettingsPreparer.prepareEnvironment(settings.build(), Map.of(), home, () -> name);
        LogConfigurator.registerErrorListener();
        LogConfigurator.configureWithoutConfig(environment.settings());
        StorelabNode node = new StorelabNode(environment, modules());
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try {
                node.close();
            } catch (Exception failure) {
                failure.printStackTrace();
            }
        }));
        node.start();
        Thread.currentThread().join();
    }
}
