/* The icons a catalog may name: imported one by one, so that the bundle holds these and no others. */
import {
  Activity, Archive, ArrowDownUp, BadgeCheck, Ban, Bell, Binary, BookOpen, Bot, Box, Boxes, Braces, Brain, Bug, Cable,
  Calculator, Calendar, ChartColumn, ChartLine, Check, ChevronDown, ChevronRight, CircleAlert, ClipboardPaste, Clock,
  Cloud, Code, Columns3, Combine, Component, Copy, CornerDownRight, Cpu, Database, Download, Eraser, ExternalLink, File,
  FileSpreadsheet, FileText, Flag, FlaskConical, Folder, Frame, Funnel, Gauge, GitBranch, GitFork, GitMerge, Globe, Group,
  Hand, HardDrive, Hash, Hourglass, Image, Inbox, Key, Languages, Layers, Library, Lightbulb, List, ListChecks,
  ListOrdered, Lock, LogIn, LogOut, Mail, Map as MapIcon, MapPin, Maximize, Merge, MessageSquare, MessagesSquare,
  Microscope, Milestone, Network, Package, PanelLeftClose, PanelLeftOpen, Pause, Pencil, Play, Plug, Plus, Radar,
  Redo2, Repeat, Rocket, RotateCw, Route, Rows3, Save, Scale, Scissors, Search, Send, Server, Share2, ShieldCheck,
  Shuffle, Sigma, SkipForward, Sparkles, Split, SquareFunction, Table, Tag, Terminal, Timer, Trash2, TriangleAlert, Type,
  Undo2, Unplug, Upload, User, UserCheck, Users, Variable, Vote, WandSparkles, Webhook, Workflow, X, Zap,
} from "lucide-react";

const ICONS = {
  activity: Activity, archive: Archive, "arrow-down-up": ArrowDownUp, "badge-check": BadgeCheck, ban: Ban, bell: Bell,
  binary: Binary, "book-open": BookOpen, bot: Bot, box: Box, boxes: Boxes, braces: Braces, brain: Brain, bug: Bug,
  cable: Cable, calculator: Calculator, calendar: Calendar, "chart-column": ChartColumn, "chart-line": ChartLine,
  check: Check, "chevron-down": ChevronDown, "chevron-right": ChevronRight, "circle-alert": CircleAlert,
  "clipboard-paste": ClipboardPaste, clock: Clock, cloud: Cloud, code: Code, "columns-3": Columns3, combine: Combine,
  component: Component, copy: Copy, "corner-down-right": CornerDownRight, cpu: Cpu, database: Database,
  download: Download, eraser: Eraser, "external-link": ExternalLink, file: File, "file-spreadsheet": FileSpreadsheet,
  "file-text": FileText, flag: Flag, "flask-conical": FlaskConical, folder: Folder, frame: Frame, funnel: Funnel,
  filter: Funnel, gauge: Gauge, "git-branch": GitBranch, "git-fork": GitFork, "git-merge": GitMerge, globe: Globe,
  group: Group, hand: Hand, "hard-drive": HardDrive, hash: Hash, hourglass: Hourglass, image: Image, inbox: Inbox,
  key: Key, languages: Languages, layers: Layers, library: Library, lightbulb: Lightbulb, list: List,
  "list-checks": ListChecks, "list-ordered": ListOrdered, lock: Lock, "log-in": LogIn, "log-out": LogOut, mail: Mail,
  map: MapIcon, "map-pin": MapPin, maximize: Maximize, merge: Merge, "message-square": MessageSquare,
  "messages-square": MessagesSquare, microscope: Microscope, milestone: Milestone, network: Network, package: Package,
  "panel-left-close": PanelLeftClose, "panel-left-open": PanelLeftOpen, pause: Pause, pencil: Pencil, play: Play,
  plug: Plug, plus: Plus, radar: Radar, "redo-2": Redo2, repeat: Repeat, rocket: Rocket, "rotate-cw": RotateCw,
  route: Route, "rows-3": Rows3, save: Save, scale: Scale, scissors: Scissors, search: Search, send: Send,
  server: Server, "share-2": Share2, "shield-check": ShieldCheck, shuffle: Shuffle, sigma: Sigma,
  "skip-forward": SkipForward, sparkles: Sparkles, split: Split, "square-function": SquareFunction, table: Table,
  tag: Tag, terminal: Terminal, timer: Timer, "trash-2": Trash2, "triangle-alert": TriangleAlert, type: Type,
  "undo-2": Undo2, unplug: Unplug, upload: Upload, user: User, "user-check": UserCheck, users: Users,
  variable: Variable, vote: Vote, "wand-sparkles": WandSparkles, webhook: Webhook, workflow: Workflow, x: X, zap: Zap,
};
const OF_KIND = {
  io: LogIn, stage: Frame, tether: SquareFunction, kb: BookOpen, nested: Boxes, agent: Bot,
};
const KINDS = new Set(Object.keys(OF_KIND));

export function Icon({ name, kind, size = 16 }) {
  const Shape = ICONS[name] ?? OF_KIND[kind] ?? Box;
  return <Shape size={size} strokeWidth={1.75} aria-hidden="true" focusable="false" />;
}

/* The small coloured square which says what kind of thing this is. */
export function Chip({ name, kind, size = "m" }) {
  return (
    <span className={`fe-chip fe-chip--${size}`} style={{ "--kind": kindColor(kind) }}>
      <Icon name={name} kind={kind} size={size === "s" ? 12 : 13} />
    </span>
  );
}

export const kindColor = (kind) => (KINDS.has(kind) ? `var(--${kind})` : "var(--idle)");
