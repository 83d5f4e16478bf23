// What every page needs: forms that call the API, menus, copy buttons, times that stay current, and the live status.
import { startForms } from "./forms.js";
import { startLiveStatus } from "./live.js";
import { startMenus } from "./menus.js";
import { startRenewed } from "./renewed.js";
import { startSearch } from "./search.js";
import { startTimes } from "./times.js";

startForms();
startMenus();
startTimes();
startLiveStatus();
startRenewed();
startSearch();
document.documentElement.dataset.ready = "";
dispatchEvent(new Event("billstack:ready"));
